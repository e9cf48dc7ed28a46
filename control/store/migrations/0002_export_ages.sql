CREATE TABLE "export_ages" (
	"mesh" varchar(63) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"service" varchar(127) NOT NULL,
	"since" bigint NOT NULL,
	"gone_at" bigint,
	CONSTRAINT "export_ages_key" PRIMARY KEY("mesh","cluster","service")
);
--> statement-breakpoint
CREATE INDEX "export_ages_gone" ON "export_ages" USING btree ("gone_at");