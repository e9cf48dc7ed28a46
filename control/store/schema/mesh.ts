import { bigint, pgTable, varchar } from 'drizzle-orm/pg-core'

/** Meshes of this centre. Every other table carries the mesh in its key; nothing crosses from one to another. */
export const meshes = pgTable('meshes', {
  name: varchar('name', { length: 63 }).primaryKey(),
  /** Unix ms, as every time in the store. */
  createdAt: bigint('created_at', { mode: 'number' }).notNull(),
  /** The trust domain that its clusters share, as the mesh of before had it. Null: each has its own. */
  sharedDomain: varchar('shared_domain', { length: 127 }),
})
export type MeshRow = typeof meshes.$inferSelect
