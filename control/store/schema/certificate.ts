import { bigint, index, pgTable, primaryKey, varchar } from 'drizzle-orm/pg-core'

/** What the centre has signed: facts, not the certificates. `clusterId` is empty for the centre's own. */
export const certificates = pgTable(
  'certificates',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    /** Hex, lower case. */
    serial: varchar('serial', { length: 64 }).notNull(),
    clusterId: varchar('cluster_id', { length: 36 }).notNull(),
    kind: varchar('kind', { length: 16 })
      .$type<'issuing' | 'relay-serving' | 'centre-serving' | 'istiod-ca'>()
      .notNull(),
    spkiSha256: varchar('spki_sha256', { length: 64 }).notNull(),
    authorityId: varchar('authority_id', { length: 36 }).notNull(),
    issuedAt: bigint('issued_at', { mode: 'number' }).notNull(),
    notAfter: bigint('not_after', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'certificates_key', columns: [t.mesh, t.serial] }),
    index('certificates_cluster').on(t.mesh, t.clusterId),
  ],
)
export type CertificateRow = typeof certificates.$inferSelect
