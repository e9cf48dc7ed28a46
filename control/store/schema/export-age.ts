import { bigint, index, pgTable, primaryKey, varchar } from 'drizzle-orm/pg-core'

/** Since when the centre knows of each cluster's exports: which of two that disagree is the older, no cluster says itself. */
export const exportAges = pgTable(
  'export_ages',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    cluster: varchar('cluster', { length: 63 }).notNull(),
    /** `<ns>/<svc>` */
    service: varchar('service', { length: 127 }).notNull(),
    since: bigint('since', { mode: 'number' }).notNull(),
    /** When it was withdrawn; null while it stands. */
    goneAt: bigint('gone_at', { mode: 'number' }),
  },
  (t) => [
    primaryKey({ name: 'export_ages_key', columns: [t.mesh, t.cluster, t.service] }),
    index('export_ages_gone').on(t.goneAt),
  ],
)
