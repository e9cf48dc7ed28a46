import { bigint, integer, pgTable, primaryKey, text, uniqueIndex, varchar } from 'drizzle-orm/pg-core'

/** Changes of an authority that are under way or were: `slot` is `open:<kind>` while one runs, so that two never do. */
export const rotations = pgTable(
  'rotations',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    kind: varchar('kind', { length: 16 }).$type<'root' | 'control-plane' | 'issuing'>().notNull(),
    slot: varchar('slot', { length: 63 }).notNull(),
    step: varchar('step', { length: 16 })
      .$type<'prepared' | 'published' | 'active' | 'tainted' | 'revoked' | 'aborted'>()
      .notNull(),
    /** Authorities: the one that goes, the one that comes. Of kind `issuing`: nothing, and the cluster's id. */
    fromId: varchar('from_id', { length: 36 }).notNull(),
    toId: varchar('to_id', { length: 36 }).notNull(),
    startedAt: bigint('started_at', { mode: 'number' }).notNull(),
    stepAt: bigint('step_at', { mode: 'number' }).notNull(),
    /** The bundle that has to be acknowledged before the next step. */
    seq: bigint('seq', { mode: 'number' }).notNull(),
    by: varchar('by', { length: 200 }).notNull(),
    reason: text('reason').notNull(),
    /** Canonical JSON: the steps that were forced, each with its reason, by whom and who was missing. */
    forced: text('forced').notNull(),
    revision: bigint('revision', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'rotations_key', columns: [t.mesh, t.id] }),
    uniqueIndex('rotations_slot').on(t.mesh, t.slot),
  ],
)
export type RotationRow = typeof rotations.$inferSelect

/** The signed chain of trust bundles; the row with the greatest `seq` holds the bundle in force, the others none. */
export const bundleLinks = pgTable(
  'bundle_links',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    /** Canonical JSON; empty once a later one is in force. */
    bundle: text('bundle').notNull(),
    /** Canonical JSON, as it is delivered. */
    link: text('link').notNull(),
  },
  (t) => [primaryKey({ name: 'bundle_links_key', columns: [t.mesh, t.seq] })],
)
export type BundleLinkRow = typeof bundleLinks.$inferSelect

/** What was revoked, by its cut: the number that renames the filter chains which it touches. */
export const revocations = pgTable(
  'revocations',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    cut: bigint('cut', { mode: 'number' }).notNull(),
    kind: varchar('kind', { length: 16 }).$type<'cluster' | 'issuer' | 'workload' | 'foreign'>().notNull(),
    /** The cluster's name, the workload's SPIFFE id, or a foreign trust domain that was taken out; that is of no cluster. */
    subject: varchar('subject', { length: 300 }).notNull(),
    cluster: varchar('cluster', { length: 63 }).notNull(),
    trustDomain: varchar('trust_domain', { length: 127 }).notNull(),
    /** Canonical JSON: `<cluster>/<ns>/<svc>` of what admitted it at that moment. */
    exports: text('exports').notNull(),
    reason: text('reason').notNull(),
    by: varchar('by', { length: 200 }).notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
    undoneAt: bigint('undone_at', { mode: 'number' }),
    revision: bigint('revision', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'revocations_key', columns: [t.mesh, t.cut] })],
)
export type RevocationRow = typeof revocations.$inferSelect

/** Where a chain that only grows ends: its last number and hash. Locked by every writer of the chain. */
export const trustHeads = pgTable(
  'trust_heads',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    name: varchar('name', { length: 16 }).$type<'issuances' | 'bundle' | 'cuts'>().notNull(),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    hash: varchar('hash', { length: 64 }).notNull(),
  },
  (t) => [primaryKey({ name: 'trust_heads_key', columns: [t.mesh, t.name] })],
)
export type TrustHeadRow = typeof trustHeads.$inferSelect

/** Trust domains of others whose roots an operator gave. */
export const foreignDomains = pgTable(
  'foreign_domains',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    trustDomain: varchar('trust_domain', { length: 127 }).notNull(),
    /** PEM, one after the other. */
    roots: text('roots').notNull(),
    source: varchar('source', { length: 16 }).$type<'file'>().notNull(),
    revision: integer('revision').notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    updatedAt: bigint('updated_at', { mode: 'number' }),
    /** What the others call this state of theirs: `spiffe_sequence`; null where the roots came as PEM. */
    sequence: bigint('sequence', { mode: 'number' }),
    /** How soon they ask to be looked at again: `spiffe_refresh_hint`. */
    refreshSeconds: integer('refresh_seconds'),
  },
  (t) => [primaryKey({ name: 'foreign_domains_key', columns: [t.mesh, t.trustDomain] })],
)
export type ForeignDomainRow = typeof foreignDomains.$inferSelect
