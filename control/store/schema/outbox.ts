import { bigint, pgTable, primaryKey, text, varchar } from 'drizzle-orm/pg-core'

/**
 * Work that a committed change asks for: written in its transaction, deleted by whoever has done the work. Read before
 * the work and deleted by id after it, so that what arrives meanwhile stays for the next round.
 */
export const outbox = pgTable(
  'outbox',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    /** UUIDv7. */
    id: varchar('id', { length: 36 }).notNull(),
    kind: varchar('kind', { length: 32 }).$type<'publish'>().notNull(),
    /** Canonical JSON: why. */
    body: text('body').notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'outbox_key', columns: [t.mesh, t.id] })],
)
export type OutboxRow = typeof outbox.$inferSelect

/** Who may do a job that must not run twice at once; taken and renewed by a guarded update of `version`. */
export const leases = pgTable(
  'leases',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    name: varchar('name', { length: 63 }).notNull(),
    holder: varchar('holder', { length: 120 }).notNull(),
    until: bigint('until', { mode: 'number' }).notNull(),
    version: bigint('version', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'leases_key', columns: [t.mesh, t.name] })],
)
export type LeaseRow = typeof leases.$inferSelect
