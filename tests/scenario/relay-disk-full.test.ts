import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'
import { reportOn } from '#tests/support/channel.ts'
import { type JoinedHome, openJoinedHome, remoteCluster } from '#tests/support/relay-home.ts'
import { eventually } from '#tests/support/until.ts'

/** While it is set, files below it take nothing. */
const disk = vi.hoisted((): { fullBelow: string | undefined } => ({ fullBelow: undefined }))
vi.mock('node:fs', async (load) => {
  const real = await load<typeof import('node:fs')>()
  const places = new Map<number, string>()
  const openSync: typeof real.openSync = (path, ...rest) => {
    const file = real.openSync(path, ...rest)
    places.set(file, String(path))
    return file
  }
  const writeSync = (file: number, ...rest: [Buffer]) => {
    if (disk.fullBelow !== undefined && places.get(file)?.startsWith(disk.fullBelow))
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    return real.writeSync(file, ...rest)
  }
  return { ...real, openSync, writeSync }
})

let joined: JoinedHome
beforeAll(async () => {
  joined = await openJoinedHome(`127.95.${process.pid % 250}.1`)
}, 60_000)
afterEach(async () => {
  disk.fullBelow = undefined
  await joined.endRelays()
})
afterAll(() => joined?.end())

test('a full disk: served from memory and said; saved as soon as there is room, and there after a restart', async () => {
  const home = await joined.copy()
  const ratings = remoteCluster.replace('reviews', 'ratings')
  await joined.withCentre(async () => {
    await home.start()
    await eventually(10_000, 'connected', async () => (await home.status()).centre?.state === 'connected')
    disk.fullBelow = home.dir
    joined.east.uplink().report(reportOn('east', { reviews: 2, ratings: 1 }))
    await eventually(10_000, 'what came since is served', async () => (await home.served()).includes(ratings))
    const { state, centre } = await home.status()
    expect(state).toBe('serving')
    expect(centre?.faults).toMatchObject([
      { path: home.file('received.json'), reason: expect.stringContaining('not saved: ENOSPC') },
    ])
    expect(await home.metrics()).toContain('isthmus_relay_state_faults 1')
    expect(home.logged.filter((line) => line.includes('could not be saved; served from memory'))).toHaveLength(1)
    disk.fullBelow = undefined
    await eventually(10_000, 'saved again', async () => (await home.status()).centre?.faults.length === 0)
  })
  await home.stop()
  await home.start()
  expect(await home.served()).toContain(ratings)
})

test('a disk that was full before the start: served all the same', async () => {
  const home = await joined.copy()
  disk.fullBelow = home.dir
  await home.start()
  expect((await home.status()).state).toBe('serving')
  expect(await home.served()).toContain(remoteCluster)
})
