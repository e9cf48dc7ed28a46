import { setTimeout as pause } from 'node:timers/promises'
import { beforeAll, expect, test } from 'vitest'
import { useFleet } from '#tests/support/fleet.ts'
import { startHandshakes } from '#tests/support/handshake-load.ts'
import { borderCounts, pairsOf, rotationSpec, untilAllReach } from '#tests/support/rotation-fleet.ts'

// The short form of `npm run test:rotation`: new connections between three clusters while what vouches for them changes.

const perSecond = 100
const fleet = useFleet(rotationSpec)
beforeAll(() => untilAllReach(fleet()), 60_000)

test('each connection is a full handshake at the border, and none is resumed', async () => {
  const before = await borderCounts(fleet())
  const load = startHandshakes(pairsOf(fleet()), perSecond)
  await pause(2000)
  const { begun, failed, first } = await load.stop()
  const after = await borderCounts(fleet())
  expect(first).toEqual([])
  expect(failed).toBe(0)
  expect(after.handshakes - before.handshakes).toBe(begun)
  expect(after.passed - before.passed).toBe(begun)
  expect(after.resumed).toBe(0)
})
