import { bigint, index, pgTable, varchar } from 'drizzle-orm/pg-core'

/** Single-use join tokens by SHA-256: who redeems one knows no mesh yet. */
export const joinTokens = pgTable(
  'join_tokens',
  {
    hash: varchar('hash', { length: 64 }).primaryKey(),
    mesh: varchar('mesh', { length: 63 }).notNull(),
    clusterId: varchar('cluster_id', { length: 36 }).notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    expiresAt: bigint('expires_at', { mode: 'number' }).notNull(),
    redeemedAt: bigint('redeemed_at', { mode: 'number' }),
    redeemedThumbprint: varchar('redeemed_thumbprint', { length: 64 }),
  },
  (t) => [index('join_tokens_cluster').on(t.mesh, t.clusterId)],
)
export type JoinTokenRow = typeof joinTokens.$inferSelect
