import { bigint, index, pgTable, primaryKey, text, varchar } from 'drizzle-orm/pg-core'

/** Assertions (`jti`, as SHA-256) that were used: each opens the door once. Kept until they would have expired. */
export const assertions = pgTable(
  'assertions',
  {
    jtiHash: varchar('jti_hash', { length: 64 }).primaryKey(),
    expiresAt: bigint('expires_at', { mode: 'number' }).notNull(),
  },
  (t) => [index('assertions_expires').on(t.expiresAt)],
)

/** Answers to writes that carried an Idempotency-Key: the same request again gets the same answer. */
export const idempotency = pgTable(
  'idempotency',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    key: varchar('key', { length: 300 }).notNull(),
    /** SHA-256 of the request: another request under the same key is refused. */
    request: varchar('request', { length: 64 }).notNull(),
    /** Canonical JSON. */
    answer: text('answer').notNull(),
    expiresAt: bigint('expires_at', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'idempotency_key', columns: [t.mesh, t.key] }),
    index('idempotency_expires').on(t.expiresAt),
  ],
)
export type IdempotencyRow = typeof idempotency.$inferSelect
