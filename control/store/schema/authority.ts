import { bigint, integer, pgTable, primaryKey, text, varchar } from 'drizzle-orm/pg-core'

/** CA keys of the centre. `keyRef` names the key in `control/keys`; the key itself is never here. */
export const authorities = pgTable(
  'authorities',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    kind: varchar('kind', { length: 16 }).$type<'root' | 'control-plane'>().notNull(),
    state: varchar('state', { length: 16 })
      .$type<'prepared' | 'published' | 'active' | 'tainted' | 'revoked'>()
      .notNull(),
    /** PEM. */
    certificate: text('certificate').notNull(),
    keyRef: varchar('key_ref', { length: 500 }).notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    // Null in rows from before there were rotations: number 1, never changed, signed by itself.
    number: integer('number'),
    stateAt: bigint('state_at', { mode: 'number' }),
    /** PEM of the certificates above it, the user's root last. */
    chain: text('chain'),
    /** PEM that members accept instead of its own certificate. */
    trusted: text('trusted'),
    revision: bigint('revision', { mode: 'number' }),
  },
  (t) => [primaryKey({ name: 'authorities_key', columns: [t.mesh, t.id] })],
)
export type AuthorityRow = typeof authorities.$inferSelect
export type NewAuthority = typeof authorities.$inferInsert
