ALTER TABLE "foreign_domains" ADD COLUMN "updated_at" bigint;--> statement-breakpoint
ALTER TABLE "foreign_domains" ADD COLUMN "sequence" bigint;--> statement-breakpoint
ALTER TABLE "foreign_domains" ADD COLUMN "refresh_seconds" integer;