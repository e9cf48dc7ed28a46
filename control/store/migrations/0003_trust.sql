CREATE TABLE "issuances" (
	"mesh" varchar(63) NOT NULL,
	"seq" bigint NOT NULL,
	"at" bigint NOT NULL,
	"prev" varchar(64) NOT NULL,
	"hash" varchar(64) NOT NULL,
	"body" text NOT NULL,
	CONSTRAINT "issuances_key" PRIMARY KEY("mesh","seq")
);
--> statement-breakpoint
CREATE TABLE "bundle_links" (
	"mesh" varchar(63) NOT NULL,
	"seq" bigint NOT NULL,
	"bundle" text NOT NULL,
	"link" text NOT NULL,
	CONSTRAINT "bundle_links_key" PRIMARY KEY("mesh","seq")
);
--> statement-breakpoint
CREATE TABLE "foreign_domains" (
	"mesh" varchar(63) NOT NULL,
	"trust_domain" varchar(127) NOT NULL,
	"roots" text NOT NULL,
	"source" varchar(16) NOT NULL,
	"revision" integer NOT NULL,
	"created_at" bigint NOT NULL,
	CONSTRAINT "foreign_domains_key" PRIMARY KEY("mesh","trust_domain")
);
--> statement-breakpoint
CREATE TABLE "revocations" (
	"mesh" varchar(63) NOT NULL,
	"cut" bigint NOT NULL,
	"kind" varchar(16) NOT NULL,
	"subject" varchar(300) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"trust_domain" varchar(127) NOT NULL,
	"exports" text NOT NULL,
	"reason" text NOT NULL,
	"by" varchar(200) NOT NULL,
	"at" bigint NOT NULL,
	"undone_at" bigint,
	"revision" bigint NOT NULL,
	CONSTRAINT "revocations_key" PRIMARY KEY("mesh","cut")
);
--> statement-breakpoint
CREATE TABLE "rotations" (
	"mesh" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"kind" varchar(16) NOT NULL,
	"slot" varchar(63) NOT NULL,
	"step" varchar(16) NOT NULL,
	"from_id" varchar(36) NOT NULL,
	"to_id" varchar(36) NOT NULL,
	"started_at" bigint NOT NULL,
	"step_at" bigint NOT NULL,
	"seq" bigint NOT NULL,
	"by" varchar(200) NOT NULL,
	"reason" text NOT NULL,
	"forced" text NOT NULL,
	"revision" bigint NOT NULL,
	CONSTRAINT "rotations_key" PRIMARY KEY("mesh","id")
);
--> statement-breakpoint
CREATE TABLE "trust_heads" (
	"mesh" varchar(63) NOT NULL,
	"name" varchar(16) NOT NULL,
	"seq" bigint NOT NULL,
	"hash" varchar(64) NOT NULL,
	CONSTRAINT "trust_heads_key" PRIMARY KEY("mesh","name")
);
--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "number" integer;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "state_at" bigint;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "chain" text;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "trusted" text;--> statement-breakpoint
ALTER TABLE "authorities" ADD COLUMN "revision" bigint;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "issuing_before" bigint;--> statement-breakpoint
ALTER TABLE "clusters" ADD COLUMN "shared_domain" boolean;--> statement-breakpoint
CREATE UNIQUE INDEX "rotations_slot" ON "rotations" USING btree ("mesh","slot");