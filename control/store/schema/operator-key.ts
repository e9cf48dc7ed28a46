import { bigint, pgTable, primaryKey, uniqueIndex, varchar } from 'drizzle-orm/pg-core'

/** Operators' keys by SHA-256; the key itself is never stored. */
export const operatorKeys = pgTable(
  'operator_keys',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    name: varchar('name', { length: 120 }).notNull(),
    hash: varchar('hash', { length: 64 }).notNull(),
    role: varchar('role', { length: 16 }).$type<'viewer' | 'operator' | 'admin'>().notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    /** Absent: until revoked. */
    expiresAt: bigint('expires_at', { mode: 'number' }),
    revokedAt: bigint('revoked_at', { mode: 'number' }),
  },
  (t) => [
    primaryKey({ name: 'operator_keys_key', columns: [t.mesh, t.id] }),
    uniqueIndex('operator_keys_hash').on(t.hash),
  ],
)
export type OperatorKeyRow = typeof operatorKeys.$inferSelect
