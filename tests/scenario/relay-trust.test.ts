import { readFileSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { trustReportSchema } from '#mesh/wire/trust-report.ts'
import { type JoinedHome, openJoinedHome, type RelayHome } from '#tests/support/relay-home.ts'
import { eventually } from '#tests/support/until.ts'

const address = `127.99.${process.pid % 250}.1`

let joined: JoinedHome
let home: RelayHome
beforeAll(async () => {
  joined = await openJoinedHome(address)
}, 60_000)
beforeEach(async () => {
  home = await joined.copy()
})
afterEach(() => joined.endRelays())
afterAll(() => joined?.end())

const trustOf = async (one: RelayHome) => trustReportSchema.parse((await one.status()).trust)

describe('the trust bundle of a relay', () => {
  test('is in force without the centre, and proxies find the control-plane CA beside it', async () => {
    await home.start()
    const { seq, digest, issuing, serving, pinned } = await trustOf(home)
    expect(seq).toBeGreaterThan(0)
    expect(digest).toMatch(/^[0-9a-f]{64}$/)
    expect([issuing?.trustDomain, pinned]).toEqual(['west.mesh1', [serving?.ca]])
    expect(readFileSync(home.file('control-plane-ca.pem'), 'utf8')).toBe(joined.centre.ca())
  })

  test('counts a proxy as acknowledged once it holds its secrets, and names the pod that is away', async () => {
    await home.start()
    expect(await trustOf(home)).toMatchObject({ proxies: 1, acked: 0, missing: ['shop/reviews-0: not connected'] })
    const proxy = home.dial('sidecar')
    await proxy.ready
    await eventually(5000, 'it has acknowledged', async () => (await trustOf(home)).acked === 1)
    expect(await trustOf(home)).toMatchObject({ proxies: 1, missing: [], missingCount: 0 })
    proxy.close()
  })
})
