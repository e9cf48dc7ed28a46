import { and, asc, eq, inArray, lt, lte, notExists } from 'drizzle-orm'
import type { Database, Tx } from '#control/store/database.ts'
import { sweepExportAges } from '#control/store/export-ages.ts'
import { assertions, idempotency } from '#control/store/schema/once.ts'
import { audiences, items, type StreamRow, streams } from '#control/store/schema/stream.ts'
import { lockStream } from '#control/store/stream-writes.ts'

export const tombstoneMsMin = 24 * 3_600_000
export const batch = 500
/** For one stream in one sweep; what is beyond, the next one takes. */
const batchesMax = 40

/**
 * Collects what time has made useless: tombstones older than a day (the floor of their stream rises first, so that a
 * reader behind it takes a snapshot), streams that hold nothing any more and whose readers are long told, audiences that
 * no stream is for, ages of exports that are long gone, and one-time things past their end. Small transactions, safe to
 * run twice or beside itself. Gives back how many rows went.
 */
export async function sweep(database: Database, now: number): Promise<number> {
  const before = now - tombstoneMsMin
  let removed = 0
  const rows = await database.read((tx) => tx.select().from(streams).orderBy(streams.mesh, streams.stream))
  for (const row of rows)
    removed += await inBatches(() => database.transact((tx) => sweepStream(tx, row, { before, now })))
  removed += await inBatches(() => database.transact((tx) => sweepAudiences(tx, before)))
  removed += await inBatches(() => database.transact((tx) => sweepExportAges(tx, now, batch)))
  removed += await database.transact((tx) => sweepExpired(tx, now))
  return removed
}

/** Works until a batch was short. */
export async function inBatches(work: () => Promise<number>): Promise<number> {
  let removed = 0
  for (let n = 0; n < batchesMax; n++) {
    const more = await work()
    removed += more
    if (more < batch) break
  }
  return removed
}

async function sweepStream(tx: Tx, seen: StreamRow, { before, now }: { before: number; now: number }): Promise<number> {
  const [row] = await tx.select().from(streams).where(isStream(seen))
  if (!row) return 0
  const old = and(isItemOf(row), eq(items.gone, true), lt(items.updatedAt, before))
  const dead = await tx
    .select({ key: items.key, rev: items.rev })
    .from(items)
    .where(old)
    .orderBy(asc(items.rev))
    .limit(batch)
  const last = dead.at(-1)
  if (!last) return row.kind === 'ep' && row.updatedAt < before ? removeEmpty(tx, row, now) : 0
  const locked = await lockStream(tx, row, row.updatedAt)
  const floor = Math.max(locked.floor, last.rev)
  await tx.update(streams).set({ floor }).where(isStream(row))
  const keys = dead.map((item) => item.key)
  const gone = await tx
    .delete(items)
    .where(and(old, inArray(items.key, keys), lte(items.rev, floor)))
    .returning({ key: items.key })
  return gone.length
}

/** The stream of an audience that is no more. Should it come back, it is made with an epoch of its own. */
async function removeEmpty(tx: Tx, row: StreamRow, now: number): Promise<number> {
  const locked = await lockStream(tx, row, now)
  const [left] = await tx.select({ key: items.key }).from(items).where(isItemOf(row)).limit(1)
  if (left || locked.head !== row.head) return 0
  await tx.delete(streams).where(isStream(row))
  return 1
}

/** Whoever makes a stream for an audience anew dates the audience anew, so one that is old and without a stream is unused. */
async function sweepAudiences(tx: Tx, before: number): Promise<number> {
  const inUse = tx
    .select({ audience: streams.audience })
    .from(streams)
    .where(and(eq(streams.mesh, audiences.mesh), eq(streams.audience, audiences.audience)))
  const old = await tx
    .select()
    .from(audiences)
    .where(and(lt(audiences.usedAt, before), notExists(inUse)))
    .limit(batch)
  let removed = 0
  for (const { mesh, audience } of old) {
    const is = and(eq(audiences.mesh, mesh), eq(audiences.audience, audience), lt(audiences.usedAt, before))
    removed += (await tx.delete(audiences).where(is).returning({ audience: audiences.audience })).length
  }
  return removed
}

async function sweepExpired(tx: Tx, now: number): Promise<number> {
  const used = await tx.delete(assertions).where(lt(assertions.expiresAt, now)).returning({ hash: assertions.jtiHash })
  const answers = await tx.delete(idempotency).where(lt(idempotency.expiresAt, now)).returning({ key: idempotency.key })
  return used.length + answers.length
}

const isStream = ({ mesh, stream }: StreamRow) => and(eq(streams.mesh, mesh), eq(streams.stream, stream))
const isItemOf = ({ mesh, stream }: StreamRow) => and(eq(items.mesh, mesh), eq(items.stream, stream))
