import { bigint, boolean, integer, pgTable, primaryKey, text, uniqueIndex, varchar } from 'drizzle-orm/pg-core'

/**
 * Member clusters. `expected` is announced and has not joined; `left` and `revoked` keep their generation for a return.
 */
export const clusters = pgTable(
  'clusters',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    name: varchar('name', { length: 63 }).notNull(),
    state: varchar('state', { length: 16 }).$type<'expected' | 'joined' | 'left' | 'revoked'>().notNull(),
    generation: integer('generation').notNull(),
    trustDomain: varchar('trust_domain', { length: 127 }).notNull(),
    /** Empty until it joined; then as its relay says. */
    network: varchar('network', { length: 63 }).notNull(),
    region: varchar('region', { length: 63 }).notNull(),
    /** RFC 7638 thumbprint of the key that its relay joined with, and the key as a JWK (canonical JSON). */
    keyThumbprint: varchar('key_thumbprint', { length: 64 }),
    keyJwk: text('key_jwk'),
    relayVersion: varchar('relay_version', { length: 64 }).notNull(),
    meshSync: varchar('mesh_sync', { length: 32 }).notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    joinedAt: bigint('joined_at', { mode: 'number' }),
    /** Stored at most once a minute, and not in the journal: a sighting can be had again. */
    lastSeenAt: bigint('last_seen_at', { mode: 'number' }),
    revision: bigint('revision', { mode: 'number' }).notNull(),
    /** Unix ms: an issuing CA of before this has to be replaced. Null: none has. */
    issuingBefore: bigint('issuing_before', { mode: 'number' }),
    /** True where the trust domain is that of a mesh of before, which others claim too. */
    sharedDomain: boolean('shared_domain'),
  },
  (t) => [
    primaryKey({ name: 'clusters_key', columns: [t.mesh, t.id] }),
    uniqueIndex('clusters_name').on(t.mesh, t.name),
  ],
)
export type ClusterRow = typeof clusters.$inferSelect
export type NewCluster = typeof clusters.$inferInsert
