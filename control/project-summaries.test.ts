import { randomUUID } from 'node:crypto'
import { and, eq, ne } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Database } from '#control/store/database.ts'
import { appendOutbox, deleteOutbox, loadOutbox } from '#control/store/outbox.ts'
import { items } from '#control/store/schema/stream.ts'
import { loadStreams } from '#control/store/streams.ts'
import { syncEndpoints } from '#control/sync-endpoints.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import { exported, gateways, joined, openTestDatabase, Reporter, summary } from '#tests/support/stores.ts'

let db: Database
let statements: string[] = []
let count = 0
beforeAll(async () => {
  db = await openTestDatabase({ onStatement: (text) => statements.push(text) })
})
afterAll(() => db.close())
beforeEach(() => {
  statements = []
})

/** East reports to west and north; before each batch the outbox is empty, or (`asked`) has work. */
async function mesh(asked: boolean) {
  const name = parseMeshName(`s${++count}`)
  const east = await joined(db, name, 'east')
  for (const other of ['west', 'north']) await joined(db, name, other)
  const relay = new Reporter()
  const outbox = async () => {
    const rows = await db.read((tx) => loadOutbox(tx, name))
    await db.transact((tx) =>
      deleteOutbox(
        tx,
        name,
        rows.map((row) => row.id),
      ),
    )
    if (asked)
      await db.transact((tx) => appendOutbox(tx, { mesh: name, id: randomUUID(), kind: 'publish', body: '{}', at: 1 }))
  }
  const say = async (changes: Readonly<Record<string, Json | undefined>>, complete = false) => {
    await outbox()
    statements = []
    return syncEndpoints(db, east, relay.batch(changes, complete ? { complete } : {}), { now: 9, newId: randomUUID })
  }
  const stored = () =>
    db.read(async (tx) => ({
      streams: (await loadStreams(tx, name, ['ep'])).map(({ stream, head, root }) => ({ stream, head, root })),
      items: await tx
        .select({ stream: items.stream, key: items.key, rev: items.rev, gone: items.gone, body: items.body })
        .from(items)
        .where(and(eq(items.mesh, name), ne(items.stream, 'rep/east')))
        .orderBy(items.stream, items.key),
    }))
  return { say, stored }
}

const asksAgain = () => statements.filter((text) => /from "(service_exports|clusters)"/.test(text)).length > 1

describe('new counts of services that everybody reads', () => {
  test('go out without asking anew who may read them', async () => {
    const { say } = await mesh(false)
    await say({ gateways, 'export/ns/a': exported(), 'summary/ns/a': summary(1) }, true)
    expect(asksAgain()).toBe(true)
    const { changed } = await say({ 'summary/ns/a': summary(2) })
    expect(asksAgain()).toBe(false)
    expect(statements.length).toBeLessThanOrEqual(14)
    expect(changed).toMatchObject([{ stream: 'ep/east/all', delta: { items: [{ k: 'ns/a' }] } }])
    expect(changed[0]?.readers).toBeUndefined()
  })

  test('with pod addresses among them go the long way, which takes those off', async () => {
    const { say, stored } = await mesh(false)
    await say({ gateways, 'export/ns/a': exported(), 'summary/ns/a': summary(1) }, true)
    const { changed } = await say({ 'summary/ns/a': summary(2, true) })
    expect(asksAgain()).toBe(true)
    expect(changed).toMatchObject([{ stream: 'ep/east/all', delta: { items: [{ k: 'ns/a' }] } }])
    expect(JSON.stringify([changed, await stored()])).not.toContain('10.0.0.1')
  })

  test('while the outbox has work, who may read them is asked', async () => {
    const { say } = await mesh(true)
    await say({ gateways, 'export/ns/a': exported(), 'summary/ns/a': summary(1) }, true)
    await say({ 'summary/ns/a': summary(2) })
    expect(asksAgain()).toBe(true)
  })
})

test('whatever is reported, the short way and the long way leave the same', async () => {
  const key = fc.constantFrom('a', 'b')
  const value = fc.oneof(
    fc.nat(3).map((ready) => ['summary', summary(ready)] as const),
    fc.nat(3).map((ready) => ['summary', summary(ready, ready === 3)] as const),
    fc.constant(['summary', undefined] as const),
    fc.constant(['summary', { counts: 'odd' }] as const),
    fc.constantFrom(['export', exported()] as const, ['export', exported({ consumers: ['north'] })] as const),
    fc.constant(['export', undefined] as const),
  )
  const batch = fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 5 }), async (batches) => {
      const ways = [await mesh(false), await mesh(true)]
      const seen = []
      for (const { say, stored } of ways) {
        await say({ gateways, 'export/ns/a': exported(), 'summary/ns/a': summary(1) }, true)
        for (const changes of batches)
          await say(Object.fromEntries(changes.map(([name, [kind, body]]) => [`${kind}/ns/${name}`, body as Json])))
        seen.push(await stored())
      }
      expect(seen[0]).toEqual(seen[1])
    }),
    { numRuns: 12 },
  )
})
