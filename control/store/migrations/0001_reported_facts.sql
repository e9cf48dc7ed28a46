CREATE TABLE "reported_facts" (
	"mesh" varchar(63) NOT NULL,
	"cluster" varchar(63) NOT NULL,
	"key" varchar(300) NOT NULL,
	"hash" varchar(64) NOT NULL,
	"body" text NOT NULL,
	CONSTRAINT "reported_facts_key" PRIMARY KEY("mesh","cluster","key")
);
