import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Centre } from '#control/centre.ts'
import { loadAuthorities } from '#control/store/authorities.ts'
import type { Database } from '#control/store/database.ts'
import { startRotation, stepRotations } from '#control/trust/rotate.ts'
import { Problem } from '#mesh/model/problem.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { openTestDatabase } from '#tests/support/stores.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

let db: Database
let test1: TestCentre
let east: TrustingRelay
beforeAll(async () => {
  db = await openTestDatabase()
  test1 = await openTestCentre({ db })
  east = await TrustingRelay.join(test1, 'east')
  await east.keepUp()
})
afterAll(async () => {
  await test1.close()
  await db.close()
})

class Killed extends Error {}

/** The centre whose process dies just before its `n`th transaction: what is stored then is what a kill after the one before leaves too. */
function dying(centre: Centre, n: number): { readonly centre: Centre; readonly died: () => boolean } {
  let left = n
  const transact: Database['transact'] = async (work) => {
    if (left <= 0) {
      left = -1
      throw new Killed()
    }
    left--
    return centre.db.transact(work)
  }
  return { centre: { ...centre, db: { ...centre.db, transact } }, died: () => left < 0 }
}

const statesOf = async (kind: string) =>
  (await db.read((tx) => loadAuthorities(tx, test1.centre.mesh)))
    .filter((row) => row.kind === kind)
    .map(({ state }) => state)
const runs = async () =>
  ((await test1.admin('GET', '/v1/rotations')).body['items'] as { state: string }[]).filter(
    ({ state }) => state === 'running',
  )

/** Steps and relay in turn until nothing runs any more. */
async function walk(centre: Centre): Promise<void> {
  for (let rounds = 0; rounds < 10; rounds++) {
    await stepRotations(centre)
    await east.keepUp()
    expect(east.fault).toBeUndefined()
    if ((await runs()).length === 0) return
  }
  throw new Error('the rotation does not end')
}

describe.each(['root', 'control-plane'] as const)('a rotation of the %s', (kind) => {
  test('killed before any transaction goes on at the next start, and no relay ever refuses its bundle', async () => {
    for (let n = 0, over = false; !over; n++) {
      const { centre, died } = dying(test1.centre, n)
      await startRotation(centre, 'centre', { kind })
        .then(() => walk(centre))
        .catch((error: unknown) => {
          if (!(error instanceof Killed)) throw error
        })
      over = !died()
      // A start reads all it knows from the store and its keys; opening those costs more than the rest of the test.
      const again = n % 8 === 1 ? await openTestCentre({ db, dir: test1.dir }) : test1
      // What was never stored is begun anew, with the key that its first attempt has left.
      if (n === 0) await startRotation(again.centre, 'centre', { kind })
      await walk(again.centre)
      const states = await statesOf(kind)
      expect([n, states.at(-1), states.filter((s) => s !== 'revoked').length]).toEqual([n, 'active', 1])
    }
  })
})

test('a key that does not sign (KMS is away, throttled) changes nothing; when it does again the rotation goes on', async () => {
  const away = new Problem('unavailable', 'the key service does not answer')
  const signer = {
    algorithm: 'ecdsa-sha256' as const,
    sign: () => Promise.reject(away),
    publicKeySpki: () => Promise.reject(away),
  }
  const centre: Centre = { ...test1.centre, keys: { ...test1.centre.keys, signerOf: async () => signer } }
  await startRotation(test1.centre, 'centre', { kind: 'root' })
  for (const left of ['prepared', 'published', 'active']) {
    const { items } = (await test1.admin('GET', '/v1/rotations')).body as { items: { step: string }[] }
    expect(items[0]?.step).toBe(left)
    const before = [await statesOf('root'), east.bundle?.seq]
    await expect(stepRotations(centre)).rejects.toBe(away)
    await east.keepUp()
    expect([await statesOf('root'), east.bundle?.seq]).toEqual(before)
    await stepRotations(test1.centre)
    await east.keepUp()
  }
  await walk(test1.centre)
})
