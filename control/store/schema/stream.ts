import { bigint, boolean, index, pgTable, primaryKey, text, varchar } from 'drizzle-orm/pg-core'

/** One row per stream: its position. The row is locked by every writer of the stream, so revisions are contiguous. */
export const streams = pgTable(
  'streams',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    stream: varchar('stream', { length: 200 }).notNull(),
    kind: varchar('kind', { length: 8 }).$type<'ep' | 'cfg' | 'trust' | 'adv' | 'rep'>().notNull(),
    /** The cluster (or mesh) that the stream is about: second part of its name. */
    source: varchar('source', { length: 63 }).notNull(),
    /** Third part of the name of `ep` streams, else empty. */
    audience: varchar('audience', { length: 16 }).notNull(),
    /** Changes whenever revisions start anew: a reader at another epoch takes a snapshot. */
    epoch: varchar('epoch', { length: 64 }).notNull(),
    head: bigint('head', { mode: 'number' }).notNull(),
    /** Tombstones up to here are collected: who is behind it takes a snapshot. */
    floor: bigint('floor', { mode: 'number' }).notNull(),
    root: varchar('root', { length: 64 }).notNull(),
    /** Of `rep` streams: epoch and number of the relay's last batch, and whether that epoch has reported everything. */
    srcEpoch: varchar('src_epoch', { length: 64 }).notNull(),
    srcSeq: bigint('src_seq', { mode: 'number' }).notNull(),
    complete: boolean('complete').notNull(),
    updatedAt: bigint('updated_at', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'streams_key', columns: [t.mesh, t.stream] }),
    index('streams_source').on(t.mesh, t.kind, t.source),
  ],
)
export type StreamRow = typeof streams.$inferSelect

/** The items of all streams: each key once, at its latest revision; this table is its own change feed. */
export const items = pgTable(
  'items',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    stream: varchar('stream', { length: 200 }).notNull(),
    key: varchar('key', { length: 300 }).notNull(),
    rev: bigint('rev', { mode: 'number' }).notNull(),
    gone: boolean('gone').notNull(),
    /** SHA-256 of the canonical JSON as the producer said it; empty when gone. */
    hash: varchar('hash', { length: 64 }).notNull(),
    /** Canonical JSON. Empty when gone, and for what was reported and refused or not understood. */
    body: text('body').notNull(),
    /** Of `rep` streams: the last epoch of the relay that named this item. */
    srcEpoch: varchar('src_epoch', { length: 64 }).notNull(),
    updatedAt: bigint('updated_at', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'items_key', columns: [t.mesh, t.stream, t.key] }),
    index('items_rev').on(t.mesh, t.stream, t.rev),
  ],
)
export type ItemRow = typeof items.$inferSelect

/** Who is meant by an audience of `ep` streams. The name is a hash of the members, so the members of a row never change. */
export const audiences = pgTable(
  'audiences',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    audience: varchar('audience', { length: 16 }).notNull(),
    /** Canonical JSON: sorted cluster names. */
    members: text('members').notNull(),
    /** When a stream was last made for it: an audience that is old and has no stream is swept. */
    usedAt: bigint('used_at', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'audiences_key', columns: [t.mesh, t.audience] })],
)
