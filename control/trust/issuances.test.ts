import { and, eq } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '#control/store/database.ts'
import { kept } from '#control/store/kept.ts'
import { issuances } from '#control/store/schema/issuance.ts'
import { appendIssuance, issuanceHash, pruneIssuances, verifyIssuances } from '#control/trust/issuances.ts'
import { type MeshName, parseMeshName } from '#mesh/model/id.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

let db: Database
beforeAll(async () => {
  db = await openTestDatabase()
})
afterAll(() => db.close())

const certificate = {
  serial: new Uint8Array([1]),
  publicKey: { spki: new Uint8Array([2]) },
  notBefore: new Date(1),
  notAfter: new Date(2),
} as unknown as Certificate

let meshes = 0
/** A log of `count` entries in a mesh of its own. */
async function logOf(count: number): Promise<MeshName> {
  const mesh = parseMeshName(`log-${++meshes}`)
  await db.transact(async (tx) => {
    for (let n = 1; n <= count; n++) await appendIssuance(tx, mesh, issued(n))
  })
  return mesh
}
const issued = (at: number) => ({
  ...({
    at,
    kind: 'issuing',
    requester: 'cluster:east',
    cluster: 'east',
    trustDomain: 'east.mesh1',
    authority: 'a',
  } as const),
  certificate,
})
const of = (mesh: MeshName, seq: number) => and(eq(issuances.mesh, mesh), eq(issuances.seq, seq))

describe('the log of what was signed', () => {
  test('is whole as it was written, and its head is the last entry', async () => {
    const mesh = await logOf(5)
    expect(await verifyIssuances(db, mesh)).toMatchObject({ checked: 5, head: { seq: 5 } })
    expect((await verifyIssuances(db, mesh)).brokenAt).toBeUndefined()
    expect(await verifyIssuances(db, parseMeshName('empty'))).toEqual({ checked: 0, head: { seq: 0, hash: '' } })
  })

  const body = '{"kind":"issuing","serial":"ff"}'
  const harms: readonly (readonly [string, number, (mesh: MeshName) => Promise<unknown>])[] = [
    ['an entry changed', 3, (mesh) => set(mesh, 3, { body })],
    [
      'one changed with its own hash computed anew',
      4,
      async (mesh) => set(mesh, 3, { body, hash: issuanceHash(await prevOf(mesh, 3), body) }),
    ],
    ['one dropped in the middle', 3, (mesh) => drop(mesh, 3)],
    ['the first dropped', 2, (mesh) => drop(mesh, 1)],
    ['the last dropped', 5, (mesh) => drop(mesh, 5)],
    [
      'two that changed places',
      2,
      async (mesh) => {
        await set(mesh, 2, { seq: 90 })
        await set(mesh, 3, { seq: 2 })
        await set(mesh, 90, { seq: 3 })
      },
    ],
  ]
  test.each(harms)('%s is seen, at its number', async (_, brokenAt, harm) => {
    const mesh = await logOf(5)
    await harm(mesh)
    expect((await verifyIssuances(db, mesh)).brokenAt).toBe(brokenAt)
  })

  test('pruned, a checkpoint vouches for where it begins; without it the beginning is missing', async () => {
    const mesh = await logOf(6)
    const bounds = { now: 10, before: 4, max: 100, limit: 100 }
    expect(await db.transact((tx) => pruneIssuances(tx, mesh, bounds))).toBe(3)
    expect(await verifyIssuances(db, mesh)).toMatchObject({ checked: 4, head: { seq: 7 } })
    expect((await verifyIssuances(db, mesh)).brokenAt).toBeUndefined()
    await drop(mesh, 4)
    expect((await verifyIssuances(db, mesh)).brokenAt).toBe(5)
  })

  test('past its bound the oldest go, the newest never', async () => {
    const mesh = await logOf(6)
    expect(await db.transact((tx) => pruneIssuances(tx, mesh, { now: 10, before: 0, max: 2, limit: 100 }))).toBe(4)
    expect(await db.transact((tx) => pruneIssuances(tx, mesh, { now: 10, before: 100, max: 2, limit: 100 }))).toBe(2)
    expect((await verifyIssuances(db, mesh)).brokenAt).toBeUndefined()
  })

  test('many who sign at once leave one chain', async () => {
    const mesh = parseMeshName('at-once')
    await Promise.all(Array.from({ length: 20 }, (_, n) => db.transact((tx) => appendIssuance(tx, mesh, issued(n)))))
    expect(await verifyIssuances(db, mesh)).toMatchObject({ checked: 20, head: { seq: 20 } })
  })
})

const prevOf = async (mesh: MeshName, seq: number): Promise<string> =>
  (await db.read((tx) => tx.select().from(issuances).where(of(mesh, seq))))[0]?.prev ?? ''
const set = (mesh: MeshName, seq: number, change: object) =>
  db.transact(async (tx) =>
    kept(tx, issuances, await tx.update(issuances).set(change).where(of(mesh, seq)).returning()),
  )
const drop = (mesh: MeshName, seq: number) =>
  db.transact(async (tx) => kept(tx, issuances, await tx.delete(issuances).where(of(mesh, seq)).returning()))
