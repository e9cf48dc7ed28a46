import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { loadMesh, saveMesh } from '#control/store/meshes.ts'
import { loadStream } from '#control/store/streams.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import { put, type StoreUnderTest } from '#tests/support/store-under-test.ts'

/** What a transaction of the store promises, on whatever engine. */
export function describeTransactions(store: StoreUnderTest): void {
  describe('transactions', () => {
    test('what throws stores nothing, also after statements that went well', async () => {
      const mesh = parseMeshName(store.freshMesh())
      const failing = store.db.transact(async (tx) => {
        await saveMesh(tx, mesh, 1)
        throw new Error('no')
      })
      await expect(failing).rejects.toThrow('no')
      expect(await store.db.read((tx) => loadMesh(tx, mesh))).toBeUndefined()
    })

    test('a statement that failed and was caught still takes the transaction with it', async () => {
      const mesh = parseMeshName(store.freshMesh())
      const swallowing = store.db.transact(async (tx) => {
        await saveMesh(tx, mesh, 1)
        await saveMesh(tx, 'x'.repeat(100) as typeof mesh, 1).catch(() => undefined)
      })
      await expect(swallowing).rejects.toThrow(/too long/)
      expect(await store.db.read((tx) => loadMesh(tx, mesh))).toBeUndefined()
    })

    test('one inside another is refused instead of waiting for itself', async () => {
      await expect(store.db.transact(() => store.db.read((tx) => loadMesh(tx, 'm')))).rejects.toThrow('inside another')
    })

    test('what is not committed is not read', async () => {
      const mesh = parseMeshName(store.freshMesh())
      const written = Promise.withResolvers<void>()
      let seen: unknown = 'nothing yet'
      const asking = written.promise
        .then(() => store.db.read((tx) => loadMesh(tx, mesh)))
        .then((row) => {
          seen = row
        })
      await store.db.transact(async (tx) => {
        await saveMesh(tx, mesh, 1)
        written.resolve()
        // A server answers from before; the embedded engine lets the reader wait.
        await (store.kind === 'embedded' ? pause(50) : asking)
        expect(seen).toBe(store.kind === 'embedded' ? 'nothing yet' : undefined)
      })
      await asking
      if (store.kind === 'embedded') expect(seen).toMatchObject({ name: mesh })
    })

    test('many callers are served in the order they came', async () => {
      const order: number[] = []
      const asks = Array.from({ length: 30 }, (_, n) =>
        store.db.transact(async (tx) => {
          await loadMesh(tx, 'any')
          order.push(n)
        }),
      )
      await Promise.all(asks)
      expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 30 }, (_, n) => n))
      if (store.kind === 'embedded') expect(order).toEqual(order.toSorted((a, b) => a - b))
    })

    test('a conflict at any statement, the commit too, runs it again and has its effect once', async () => {
      for (let at = 1; ; at++) {
        const mesh = store.freshMesh()
        let count = 0
        let thrown = false
        store.hook.onStatement = () => {
          if (++count !== at) return
          thrown = true
          throw Object.assign(new Error('could not serialize access'), { code: '40001' })
        }
        try {
          await put(store, mesh, 'adv/x', 'a', 1)
        } finally {
          store.hook.onStatement = undefined
        }
        expect(await store.db.read((tx) => loadStream(tx, { mesh, stream: 'adv/x' }))).toMatchObject({ head: 1 })
        if (!thrown) break
        expect(at).toBeLessThan(20)
      }
    })

    test('a conflict that does not end is given up after five tries', async () => {
      let tries = 0
      store.hook.onStatement = () => {
        tries++
        throw Object.assign(new Error('deadlock detected'), { code: '40P01' })
      }
      try {
        await expect(put(store, store.freshMesh(), 'adv/x', 'a', 1)).rejects.toMatchObject({ kind: 'unavailable' })
      } finally {
        store.hook.onStatement = undefined
      }
      expect(tries).toBe(5)
    })
  })
}
