import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import {
  importsOf,
  joinMember,
  readyOf,
  reportOn,
  startTestCentre,
  type TestCentre,
  type TestMember,
} from '#tests/support/channel.ts'
import { eventually } from '#tests/support/until.ts'

let centre: TestCentre
let east: TestMember
let west: TestMember

beforeAll(async () => {
  centre = await startTestCentre()
  east = await joinMember(centre, 'east')
  west = await joinMember(centre, 'west')
  east.uplink().start()
  west.uplink().start()
  east.uplink().report(reportOn('east', { reviews: 1 }))
  west.uplink().report(reportOn('west', {}))
  await westSees({ reviews: 1 }, 10_000)
})
afterEach(() => centre.line.fault({}))
afterAll(async () => {
  east?.end()
  west?.end()
  await centre?.end()
})

/** The bar of the design: five seconds after the last fault is healed. */
const healMs = 5000
const westSees = (wanted: Readonly<Record<string, number>>, ms = healMs): Promise<unknown> =>
  eventually(ms, `west sees ${JSON.stringify(wanted)} of east`, () => {
    const seen = JSON.stringify(sorted(readyOf(west.uplink().received(), 'east')))
    if (seen !== JSON.stringify(sorted(wanted))) throw new Error(`it sees ${seen}`)
    return true
  })
const sorted = (counts: Readonly<Record<string, number>>) => Object.entries(counts).toSorted()

describe('the channel', () => {
  test('config follows the export, and a summary reaches others by its hint', async () => {
    await eventually(5000, 'west may call it', () => importsOf(west.uplink().received(), 'west').includes('reviews'))
    await eventually(5000, 'hints come', () => west.uplink().status().hints)
    const started = performance.now()
    east.uplink().report(reportOn('east', { reviews: 2 }))
    await westSees({ reviews: 2 })
    expect(performance.now() - started).toBeLessThan(1500)
  })
})
