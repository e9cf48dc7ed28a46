import { bigint, pgTable, primaryKey, text, varchar } from 'drizzle-orm/pg-core'

/**
 * Everything that the centre has signed, one after the other: `hash` = SHA-256 of `prev` and `body`, so that a row which
 * was changed, dropped or put elsewhere shows. What is older than is kept stands behind a checkpoint row.
 */
export const issuances = pgTable(
  'issuances',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    /** Contiguous, from 1. */
    seq: bigint('seq', { mode: 'number' }).notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
    prev: varchar('prev', { length: 64 }).notNull(),
    hash: varchar('hash', { length: 64 }).notNull(),
    /** Canonical JSON: kind, serial, key's hash, who asked, authority, life. */
    body: text('body').notNull(),
  },
  (t) => [primaryKey({ name: 'issuances_key', columns: [t.mesh, t.seq] })],
)
export type IssuanceRow = typeof issuances.$inferSelect
