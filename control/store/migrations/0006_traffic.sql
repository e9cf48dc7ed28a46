CREATE TABLE "drains" (
	"mesh" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"kind" varchar(16) NOT NULL,
	"subject" varchar(400) NOT NULL,
	"slot" varchar(450) NOT NULL,
	"state" varchar(16) NOT NULL,
	"percent" integer NOT NULL,
	"over_ms" bigint NOT NULL,
	"grace_ms" bigint NOT NULL,
	"started_at" bigint NOT NULL,
	"step_at" bigint NOT NULL,
	"by" varchar(200) NOT NULL,
	"reason" text NOT NULL,
	"why" text NOT NULL,
	"proof" text NOT NULL,
	"baseline" text NOT NULL,
	"revision" bigint NOT NULL,
	CONSTRAINT "drains_key" PRIMARY KEY("mesh","id")
);
--> statement-breakpoint
CREATE TABLE "loads" (
	"mesh" varchar(63) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"at" bigint NOT NULL,
	"body" text NOT NULL,
	CONSTRAINT "loads_key" PRIMARY KEY("mesh","cluster")
);
--> statement-breakpoint
CREATE TABLE "mesh_marks" (
	"mesh" varchar(63) NOT NULL,
	"name" varchar(16) NOT NULL,
	"value" text NOT NULL,
	"by" varchar(200) NOT NULL,
	"reason" text NOT NULL,
	"at" bigint NOT NULL,
	"revision" bigint NOT NULL,
	CONSTRAINT "mesh_marks_key" PRIMARY KEY("mesh","name")
);
--> statement-breakpoint
CREATE TABLE "policy_history" (
	"mesh" varchar(63) NOT NULL,
	"seq" bigint NOT NULL,
	"object" varchar(200) NOT NULL,
	"revision" bigint NOT NULL,
	"spec" text NOT NULL,
	"by" varchar(200) NOT NULL,
	"reason" text NOT NULL,
	"at" bigint NOT NULL,
	CONSTRAINT "policy_history_key" PRIMARY KEY("mesh","seq")
);
--> statement-breakpoint
CREATE TABLE "sameness_groups" (
	"mesh" varchar(63) NOT NULL,
	"name" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"clusters" text NOT NULL,
	"revision" bigint NOT NULL,
	"created_at" bigint NOT NULL,
	"updated_at" bigint NOT NULL,
	CONSTRAINT "sameness_groups_key" PRIMARY KEY("mesh","name")
);
--> statement-breakpoint
CREATE TABLE "shift_events" (
	"mesh" varchar(63) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"epoch" varchar(64) NOT NULL,
	"seq" bigint NOT NULL,
	"at" bigint NOT NULL,
	CONSTRAINT "shift_events_key" PRIMARY KEY("mesh","cluster","epoch","seq")
);
--> statement-breakpoint
CREATE TABLE "traffic_policies" (
	"mesh" varchar(63) NOT NULL,
	"namespace" varchar(63) NOT NULL,
	"name" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"spec" text NOT NULL,
	"revision" bigint NOT NULL,
	"created_at" bigint NOT NULL,
	"updated_at" bigint NOT NULL,
	CONSTRAINT "traffic_policies_key" PRIMARY KEY("mesh","namespace","name")
);
--> statement-breakpoint
ALTER TABLE "compiled" ADD COLUMN "policies" bigint;--> statement-breakpoint
ALTER TABLE "compiled" ADD COLUMN "base" bigint;--> statement-breakpoint
ALTER TABLE "compiled" ADD COLUMN "acked_at" bigint;--> statement-breakpoint
CREATE UNIQUE INDEX "drains_slot" ON "drains" USING btree ("mesh","slot");--> statement-breakpoint
CREATE INDEX "policy_history_object" ON "policy_history" USING btree ("mesh","object","seq");--> statement-breakpoint
CREATE INDEX "shift_events_at" ON "shift_events" USING btree ("mesh","at");