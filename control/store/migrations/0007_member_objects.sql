CREATE TABLE "member_object_history" (
	"mesh" varchar(63) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"object" varchar(200) NOT NULL,
	"revision" bigint NOT NULL,
	"spec" text NOT NULL,
	"reason" text NOT NULL,
	"at" bigint NOT NULL,
	CONSTRAINT "member_object_history_key" PRIMARY KEY("mesh","cluster","object","revision")
);
--> statement-breakpoint
CREATE TABLE "member_objects" (
	"mesh" varchar(63) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"object" varchar(200) NOT NULL,
	"id" varchar(36) NOT NULL,
	"spec" text NOT NULL,
	"reach" varchar(8) NOT NULL,
	"revision" bigint NOT NULL,
	"said" varchar(64) NOT NULL,
	"accepted" varchar(64) NOT NULL,
	"reasons" text NOT NULL,
	"created_at" bigint NOT NULL,
	"updated_at" bigint NOT NULL,
	CONSTRAINT "member_objects_key" PRIMARY KEY("mesh","cluster","object")
);
--> statement-breakpoint
CREATE INDEX "member_object_history_at" ON "member_object_history" USING btree ("mesh","at");--> statement-breakpoint
CREATE INDEX "member_object_history_cluster" ON "member_object_history" USING btree ("mesh","cluster","at");