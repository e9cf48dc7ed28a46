import { bigint, index, pgTable, primaryKey, text, varchar } from 'drizzle-orm/pg-core'

/** Each config that was compiled for a cluster: what plan, drift and rollback compare. Pruned by age. */
export const compiled = pgTable(
  'compiled',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    cluster: varchar('cluster', { length: 63 }).notNull(),
    /** Contiguous per cluster, from 1. */
    revision: bigint('revision', { mode: 'number' }).notNull(),
    hash: varchar('hash', { length: 64 }).notNull(),
    /** What led to it: `export bookinfo/reviews of east`. */
    cause: varchar('cause', { length: 500 }).notNull(),
    author: varchar('author', { length: 200 }).notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
    /** Canonical JSON of its entries by key; with a `base` only of those that differ from it, null = gone. */
    body: text('body').notNull(),
    /** The last number of the policy history that it was compiled from; null = of before there were policies. */
    policies: bigint('policies', { mode: 'number' }),
    /** The revision that `body` stands on; null = `body` is whole. */
    base: bigint('base', { mode: 'number' }),
    /** When its cluster said that it has it; null = not yet. */
    ackedAt: bigint('acked_at', { mode: 'number' }),
  },
  (t) => [
    primaryKey({ name: 'compiled_key', columns: [t.mesh, t.cluster, t.revision] }),
    index('compiled_at').on(t.mesh, t.at),
  ],
)
export type CompiledRow = typeof compiled.$inferSelect
