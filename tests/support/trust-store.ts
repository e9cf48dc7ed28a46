import { describe, expect, test } from 'vitest'
import { dropLinks, insertLink, loadLastLink, loadLinks } from '#control/store/bundle-links.ts'
import { isDuplicate } from '#control/store/database.ts'
import { dropIssuances, insertIssuance, loadIssuances } from '#control/store/issuances.ts'
import { insertRevocation, loadStanding, undoRevocationRow } from '#control/store/revocations.ts'
import { insertRotation, loadOpenRotations, openSlot, updateRotation } from '#control/store/rotations.ts'
import { lockTrustHead, moveTrustHead } from '#control/store/trust-heads.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import type { StoreUnderTest } from '#tests/support/store-under-test.ts'

/** What the store promises of chains, bundles, rotations and revocations. */
export function describeTrustStore(store: StoreUnderTest): void {
  describe('trust', () => {
    test('chains that many writers append to at once have no gap and no fork', async () => {
      const mesh = parseMeshName(store.freshMesh())
      const append = (n: number) =>
        store.db.transact(async (tx) => {
          const head = await lockTrustHead(tx, mesh, 'issuances')
          const row = {
            mesh,
            seq: head.seq + 1,
            at: n,
            prev: head.hash,
            hash: `h${head.seq + 1}`,
            body: '{"kind":"x"}',
          }
          await insertIssuance(tx, row)
          await moveTrustHead(tx, { ...head, seq: row.seq, hash: row.hash })
        })
      await Promise.all(Array.from({ length: 12 }, (_, n) => append(n)))
      const rows = await store.db.read((tx) => loadIssuances(tx, mesh, 0, 100))
      expect(rows.map(({ seq, prev }) => [seq, prev])).toEqual(rows.map((_, n) => [n + 1, n === 0 ? '' : `h${n}`]))
      expect(await store.db.transact((tx) => dropIssuances(tx, mesh, 5))).toBe(5)
    })

    test('the newest link alone holds its bundle; a slot takes one rotation; a revocation is undone once', async () => {
      const mesh = parseMeshName(store.freshMesh())
      await store.db.transact(async (tx) => {
        for (const seq of [1, 2, 3]) await insertLink(tx, { mesh, seq, bundle: `{"seq":${seq}}`, link: '{}' })
        await dropLinks(tx, mesh, [1])
      })
      expect(await store.db.read((tx) => loadLastLink(tx, mesh))).toMatchObject({ seq: 3, bundle: '{"seq":3}' })
      expect((await store.db.read((tx) => loadLinks(tx, mesh))).map(({ seq, bundle }) => [seq, bundle === ''])).toEqual(
        [
          [2, true],
          [3, false],
        ],
      )
      const rotation = {
        ...{
          mesh,
          kind: 'root' as const,
          slot: openSlot('root'),
          step: 'prepared' as const,
          fromId: 'a',
          toId: 'b',
          startedAt: 1,
        },
        ...{ stepAt: 1, seq: 0, by: 'centre', reason: '', forced: '[]', revision: 1 },
      } as const
      await store.db.transact((tx) => insertRotation(tx, { ...rotation, id: 'one' }))
      await expect(store.db.transact((tx) => insertRotation(tx, { ...rotation, id: 'two' }))).rejects.toSatisfy(
        isDuplicate,
      )
      const [open] = await store.db.read((tx) => loadOpenRotations(tx, mesh))
      if (!open) throw new Error('no rotation runs')
      expect(await store.db.transact((tx) => updateRotation(tx, open, { slot: 'one' }))).toMatchObject({ revision: 2 })
      expect(await store.db.transact((tx) => updateRotation(tx, open, { step: 'active' }))).toBeUndefined()
      await store.db.transact((tx) => insertRotation(tx, { ...rotation, id: 'two' }))
      const revoked = {
        ...{
          mesh,
          cut: 1,
          kind: 'cluster' as const,
          subject: 'east',
          cluster: 'east',
          trustDomain: 'east.m',
          exports: '[]',
        },
        ...{ reason: 'r', by: 'centre', at: 1, undoneAt: null, revision: 1 },
      } as const
      await store.db.transact((tx) => insertRevocation(tx, revoked))
      expect(await store.db.read((tx) => loadStanding(tx, mesh))).toHaveLength(1)
      expect(await store.db.transact((tx) => undoRevocationRow(tx, revoked, 2))).toMatchObject({ undoneAt: 2 })
      expect(await store.db.transact((tx) => undoRevocationRow(tx, revoked, 3))).toBeUndefined()
      expect(await store.db.read((tx) => loadStanding(tx, mesh))).toEqual([])
    })
  })
}
