CREATE TABLE "audit" (
	"mesh" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"at" bigint NOT NULL,
	"caller" varchar(200) NOT NULL,
	"action" varchar(64) NOT NULL,
	"object" varchar(300) NOT NULL,
	"detail" text NOT NULL,
	CONSTRAINT "audit_key" PRIMARY KEY("mesh","id")
);
--> statement-breakpoint
CREATE TABLE "authorities" (
	"mesh" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"kind" varchar(16) NOT NULL,
	"state" varchar(16) NOT NULL,
	"certificate" text NOT NULL,
	"key_ref" varchar(500) NOT NULL,
	"created_at" bigint NOT NULL,
	CONSTRAINT "authorities_key" PRIMARY KEY("mesh","id")
);
--> statement-breakpoint
CREATE TABLE "certificates" (
	"mesh" varchar(63) NOT NULL,
	"serial" varchar(64) NOT NULL,
	"cluster_id" varchar(36) NOT NULL,
	"kind" varchar(16) NOT NULL,
	"spki_sha256" varchar(64) NOT NULL,
	"authority_id" varchar(36) NOT NULL,
	"issued_at" bigint NOT NULL,
	"not_after" bigint NOT NULL,
	CONSTRAINT "certificates_key" PRIMARY KEY("mesh","serial")
);
--> statement-breakpoint
CREATE TABLE "clusters" (
	"mesh" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"name" varchar(63) NOT NULL,
	"state" varchar(16) NOT NULL,
	"generation" integer NOT NULL,
	"trust_domain" varchar(127) NOT NULL,
	"network" varchar(63) NOT NULL,
	"region" varchar(63) NOT NULL,
	"key_thumbprint" varchar(64),
	"key_jwk" text,
	"relay_version" varchar(64) NOT NULL,
	"mesh_sync" varchar(32) NOT NULL,
	"created_at" bigint NOT NULL,
	"joined_at" bigint,
	"last_seen_at" bigint,
	"revision" bigint NOT NULL,
	CONSTRAINT "clusters_key" PRIMARY KEY("mesh","id")
);
--> statement-breakpoint
CREATE TABLE "compiled" (
	"mesh" varchar(63) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"revision" bigint NOT NULL,
	"hash" varchar(64) NOT NULL,
	"cause" varchar(500) NOT NULL,
	"author" varchar(200) NOT NULL,
	"at" bigint NOT NULL,
	"body" text NOT NULL,
	CONSTRAINT "compiled_key" PRIMARY KEY("mesh","cluster","revision")
);
--> statement-breakpoint
CREATE TABLE "join_tokens" (
	"hash" varchar(64) PRIMARY KEY NOT NULL,
	"mesh" varchar(63) NOT NULL,
	"cluster_id" varchar(36) NOT NULL,
	"created_at" bigint NOT NULL,
	"expires_at" bigint NOT NULL,
	"redeemed_at" bigint,
	"redeemed_thumbprint" varchar(64)
);
--> statement-breakpoint
CREATE TABLE "meshes" (
	"name" varchar(63) PRIMARY KEY NOT NULL,
	"created_at" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "assertions" (
	"jti_hash" varchar(64) PRIMARY KEY NOT NULL,
	"expires_at" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "idempotency" (
	"mesh" varchar(63) NOT NULL,
	"key" varchar(300) NOT NULL,
	"request" varchar(64) NOT NULL,
	"answer" text NOT NULL,
	"expires_at" bigint NOT NULL,
	CONSTRAINT "idempotency_key" PRIMARY KEY("mesh","key")
);
--> statement-breakpoint
CREATE TABLE "operator_keys" (
	"mesh" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"name" varchar(120) NOT NULL,
	"hash" varchar(64) NOT NULL,
	"role" varchar(16) NOT NULL,
	"created_at" bigint NOT NULL,
	"expires_at" bigint,
	"revoked_at" bigint,
	CONSTRAINT "operator_keys_key" PRIMARY KEY("mesh","id")
);
--> statement-breakpoint
CREATE TABLE "leases" (
	"mesh" varchar(63) NOT NULL,
	"name" varchar(63) NOT NULL,
	"holder" varchar(120) NOT NULL,
	"until" bigint NOT NULL,
	"version" bigint NOT NULL,
	CONSTRAINT "leases_key" PRIMARY KEY("mesh","name")
);
--> statement-breakpoint
CREATE TABLE "outbox" (
	"mesh" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"kind" varchar(32) NOT NULL,
	"body" text NOT NULL,
	"at" bigint NOT NULL,
	CONSTRAINT "outbox_key" PRIMARY KEY("mesh","id")
);
--> statement-breakpoint
CREATE TABLE "service_exports" (
	"mesh" varchar(63) NOT NULL,
	"id" varchar(36) NOT NULL,
	"namespace" varchar(63) NOT NULL,
	"name" varchar(63) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"consumers" text NOT NULL,
	"revision" bigint NOT NULL,
	"created_at" bigint NOT NULL,
	"updated_at" bigint NOT NULL,
	CONSTRAINT "service_exports_key" PRIMARY KEY("mesh","id")
);
--> statement-breakpoint
CREATE TABLE "store_facts" (
	"name" varchar(63) PRIMARY KEY NOT NULL,
	"value" text NOT NULL
);
--> statement-breakpoint
CREATE TABLE "audiences" (
	"mesh" varchar(63) NOT NULL,
	"audience" varchar(16) NOT NULL,
	"members" text NOT NULL,
	"used_at" bigint NOT NULL,
	CONSTRAINT "audiences_key" PRIMARY KEY("mesh","audience")
);
--> statement-breakpoint
CREATE TABLE "items" (
	"mesh" varchar(63) NOT NULL,
	"stream" varchar(200) NOT NULL,
	"key" varchar(300) NOT NULL,
	"rev" bigint NOT NULL,
	"gone" boolean NOT NULL,
	"hash" varchar(64) NOT NULL,
	"body" text NOT NULL,
	"src_epoch" varchar(64) NOT NULL,
	"updated_at" bigint NOT NULL,
	CONSTRAINT "items_key" PRIMARY KEY("mesh","stream","key")
);
--> statement-breakpoint
CREATE TABLE "streams" (
	"mesh" varchar(63) NOT NULL,
	"stream" varchar(200) NOT NULL,
	"kind" varchar(8) NOT NULL,
	"source" varchar(63) NOT NULL,
	"audience" varchar(16) NOT NULL,
	"epoch" varchar(64) NOT NULL,
	"head" bigint NOT NULL,
	"floor" bigint NOT NULL,
	"root" varchar(64) NOT NULL,
	"src_epoch" varchar(64) NOT NULL,
	"src_seq" bigint NOT NULL,
	"complete" boolean NOT NULL,
	"updated_at" bigint NOT NULL,
	CONSTRAINT "streams_key" PRIMARY KEY("mesh","stream")
);
--> statement-breakpoint
CREATE INDEX "audit_at" ON "audit" USING btree ("mesh","at");--> statement-breakpoint
CREATE INDEX "certificates_cluster" ON "certificates" USING btree ("mesh","cluster_id");--> statement-breakpoint
CREATE UNIQUE INDEX "clusters_name" ON "clusters" USING btree ("mesh","name");--> statement-breakpoint
CREATE INDEX "compiled_at" ON "compiled" USING btree ("mesh","at");--> statement-breakpoint
CREATE INDEX "join_tokens_cluster" ON "join_tokens" USING btree ("mesh","cluster_id");--> statement-breakpoint
CREATE INDEX "assertions_expires" ON "assertions" USING btree ("expires_at");--> statement-breakpoint
CREATE INDEX "idempotency_expires" ON "idempotency" USING btree ("expires_at");--> statement-breakpoint
CREATE UNIQUE INDEX "operator_keys_hash" ON "operator_keys" USING btree ("hash");--> statement-breakpoint
CREATE UNIQUE INDEX "service_exports_service" ON "service_exports" USING btree ("mesh","namespace","name","cluster");--> statement-breakpoint
CREATE INDEX "items_rev" ON "items" USING btree ("mesh","stream","rev");--> statement-breakpoint
CREATE INDEX "streams_source" ON "streams" USING btree ("mesh","kind","source");