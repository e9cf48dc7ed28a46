import { bigint, index, pgTable, primaryKey, text, varchar } from 'drizzle-orm/pg-core'

/** Who did what. The id is a UUIDv7, so that order by id is order by time. */
export const audit = pgTable(
  'audit',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
    /** `operator:<id>`, `cluster:<name>` or `centre`. */
    caller: varchar('caller', { length: 200 }).notNull(),
    action: varchar('action', { length: 64 }).notNull(),
    object: varchar('object', { length: 300 }).notNull(),
    /** Canonical JSON, without secrets. */
    detail: text('detail').notNull(),
  },
  (t) => [primaryKey({ name: 'audit_key', columns: [t.mesh, t.id] }), index('audit_at').on(t.mesh, t.at)],
)
export type AuditRow = typeof audit.$inferSelect
