import { bigint, pgTable, primaryKey, text, uniqueIndex, varchar } from 'drizzle-orm/pg-core'

/** The operator's narrowings of exports. What a cluster itself exports is in its `rep` stream, not here. */
export const serviceExports = pgTable(
  'service_exports',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    namespace: varchar('namespace', { length: 63 }).notNull(),
    name: varchar('name', { length: 63 }).notNull(),
    /** Empty: every exporter's. */
    cluster: varchar('cluster', { length: 63 }).notNull(),
    /** Canonical JSON: sorted cluster names. */
    consumers: text('consumers').notNull(),
    revision: bigint('revision', { mode: 'number' }).notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    updatedAt: bigint('updated_at', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'service_exports_key', columns: [t.mesh, t.id] }),
    uniqueIndex('service_exports_service').on(t.mesh, t.namespace, t.name, t.cluster),
  ],
)
export type ServiceExportRow = typeof serviceExports.$inferSelect
