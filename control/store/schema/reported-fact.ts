import { pgTable, primaryKey, text, varchar } from 'drizzle-orm/pg-core'

/**
 * The facts among a cluster's reported items (what configs are compiled from), a second time, as a durable table. An
 * embedded database that was lost comes back with them, and so compiles the configs that every relay already has: were
 * they missing until each cluster has reported again, "not heard yet" would be compiled as "exports nothing".
 */
export const reportedFacts = pgTable(
  'reported_facts',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    cluster: varchar('cluster', { length: 63 }).notNull(),
    key: varchar('key', { length: 300 }).notNull(),
    /** As the item in `rep/<cluster>` has them. */
    hash: varchar('hash', { length: 64 }).notNull(),
    body: text('body').notNull(),
  },
  (t) => [primaryKey({ name: 'reported_facts_key', columns: [t.mesh, t.cluster, t.key] })],
)
export type ReportedFactRow = typeof reportedFacts.$inferSelect
