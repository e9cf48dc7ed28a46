import { setTimeout as pause } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { useFleet } from '#tests/support/fleet.ts'
import { startHandshakes } from '#tests/support/handshake-load.ts'
import {
  borderCounts,
  expectReplaced,
  heldByAll,
  pairsOf,
  rotationSpec,
  untilAllReach,
} from '#tests/support/rotation-fleet.ts'
import { beginRotation, forceOn, rotationOf, untilDone, untilStep } from '#tests/support/rotations.ts'
import { eventually } from '#tests/support/until.ts'

// The short form of `npm run test:rotation`: new connections between three clusters while the root is replaced, and the
// proof that the order of steps is what keeps them: out of order, the same load finds what fails.

const perSecond = 100
const rotationMs = 90_000
const fleet = useFleet(rotationSpec)
beforeAll(() => untilAllReach(fleet()), 60_000)

test('the root is replaced: every connection is a full handshake, none is resumed, none fails', async () => {
  const before = await borderCounts(fleet())
  const held = await heldByAll(fleet())
  const load = startHandshakes(pairsOf(fleet()), perSecond)
  const { id } = await beginRotation(fleet(), { kind: 'root' })
  await untilDone(fleet(), id, rotationMs)
  const { begun, failed, first } = await load.stop()
  const after = await borderCounts(fleet())
  expect(first).toEqual([])
  expect(failed).toBe(0)
  expect(after.handshakes - before.handshakes).toBe(begun)
  expect(after.passed - before.passed).toBe(begun)
  expect(after.resumed).toBe(0)
  expectReplaced(held, await heldByAll(fleet()))
})

test('a cluster that has not heard is waited for; without waiting, its calls fail until it hears', async () => {
  const load = startHandshakes(pairsOf(fleet()), perSecond)
  const relay = fleet().cluster('rome').relayPid()
  process.kill(relay, 'SIGSTOP')
  try {
    const { id } = await beginRotation(fleet(), { kind: 'root' })
    await untilStep(fleet(), id, 'published', rotationMs)
    await pause(5000)
    const waiting = await rotationOf(fleet(), id)
    expect(waiting.step).toBe('published')
    expect([...new Set(waiting.waitsFor.map(({ cluster }) => cluster))]).toEqual(['rome'])
    expect((await load.settled()).first).toEqual([])

    await forceOn(fleet(), id)
    await eventually(rotationMs, 'calls with rome fail', () => load.counts().failed > 0)
    process.kill(relay, 'SIGCONT')
    await untilDone(fleet(), id, rotationMs)
    const { failed, failedOf } = await load.settled()
    expect(failed).toBeGreaterThan(0)
    for (const pair of failedOf.keys()) expect(pair).toContain('rome')
    await pause(2000)
    expect((await load.settled()).failed).toBe(failed)
  } finally {
    process.kill(relay, 'SIGCONT')
    await load.stop()
  }
})
