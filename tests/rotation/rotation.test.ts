import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { useFleet } from '#tests/support/fleet.ts'
import { type HandshakeLoad, startHandshakes } from '#tests/support/handshake-load.ts'
import {
  type BorderCounts,
  borderCounts,
  members,
  pairsOf,
  rotationSpec,
  untilAllReach,
} from '#tests/support/rotation-fleet.ts'
import { beginRotation, type Subject, steps, untilDone, untilStep } from '#tests/support/rotations.ts'
import { eventually } from '#tests/support/until.ts'

// `npm run test:rotation`: everything that vouches for anybody is replaced, and the centre is killed in every state of it,
// while three clusters call each other through their gateways. One load from the first test to the last; nothing may fail.

const perSecond = 110
const handshakesMin = 30_000
const rotationMs = 180_000

const fleet = useFleet(rotationSpec)
let load: HandshakeLoad
let before: BorderCounts
let started: number

beforeAll(async () => {
  await untilAllReach(fleet())
  before = await borderCounts(fleet())
  load = startHandshakes(pairsOf(fleet()), perSecond)
  started = performance.now()
}, 120_000)
afterAll(() => load?.stop())

let failed = 0
afterEach(async ({ task }) => {
  const counts = load.counts()
  const seconds = ((performance.now() - started) / 1000).toFixed(0)
  process.stderr.write(`${seconds} s: ${task.name}: ${counts.begun} handshakes, ${counts.failed - failed} failed\n`)
  failed = counts.failed
})

async function expectNoneFailed(): Promise<void> {
  const counts = await load.settled()
  expect(counts.first).toEqual([])
  expect(counts.failed).toBe(0)
}

async function rotate(subject: Subject): Promise<void> {
  const { id } = await beginRotation(fleet(), subject)
  await untilDone(fleet(), id, rotationMs)
  await expectNoneFailed()
}

describe('nobody notices', { timeout: 2 * rotationMs }, () => {
  test('the root', () => rotate({ kind: 'root' }))

  test.each(members)('the issuing CA of %s', (cluster) => rotate({ kind: 'issuing', cluster }))

  test('the control-plane CA', () => rotate({ kind: 'control-plane' }))
})

describe.each(['root', 'control-plane'] as const)('the centre dies in every state of a rotation of %s', (kind) => {
  test('it goes on where it was', { timeout: 2 * rotationMs }, async () => {
    const { id } = await beginRotation(fleet(), { kind })
    for (const step of steps) {
      await untilStep(fleet(), id, step, rotationMs)
      await fleet().centre.kill()
      await fleet().centre.start()
    }
    await untilDone(fleet(), id, rotationMs)
    await expectNoneFailed()
  })
})

test('a relay dies in the middle of a rotation', { timeout: 2 * rotationMs }, async () => {
  const rome = fleet().cluster('rome')
  const { id } = await beginRotation(fleet(), { kind: 'root' })
  await untilStep(fleet(), id, 'active', rotationMs)
  await rome.killRelay()
  await rome.startRelay()
  await untilDone(fleet(), id, rotationMs)
  await expectNoneFailed()
})

test(`${handshakesMin} full handshakes, none of them resumed, none failed`, { timeout: 600_000 }, async () => {
  await eventually(600_000, 'so many', () => load.counts().begun >= handshakesMin)
  const rate = load.rate()
  const { begun, answered, failed, first } = await load.stop()
  const after = await borderCounts(fleet())
  expect(first).toEqual([])
  expect({ answered, failed }).toEqual({ answered: begun, failed: 0 })
  expect(rate).toBeGreaterThanOrEqual(100)
  expect(after.handshakes - before.handshakes).toBe(begun)
  expect(after.passed - before.passed).toBe(begun)
  expect(after.resumed).toBe(0)
})
