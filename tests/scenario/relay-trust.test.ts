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

describe('a revocation', () => {
  test('of another cluster: told with the time after which the last proxy refused it', async () => {
    await home.start()
    const proxy = home.dial('sidecar')
    await proxy.ready
    await joined.withCentre(async () => {
      const made = await revoke('cluster', 'east')
      await eventually(10_000, 'it acts', async () => (await trustOf(home)).cuts.length === 1)
      const [cut] = (await trustOf(home)).cuts
      expect(cut).toMatchObject({ cut: made, oldMs: null })
      expect(cut?.newMs).toBeLessThan(2000)
    })
    proxy.close()
  })

  test('of this cluster’s issuer: it goes on in the next generation of its trust domain, and remembers', async () => {
    await home.start()
    await joined.withCentre(async () => {
      await eventually(10_000, 'it is connected', async () => (await home.status()).centre?.state === 'connected')
      await revoke('issuer', 'west')
      await eventually(15_000, 'it serves the next generation', async () => {
        const { state, trustDomain, trust } = await home.status()
        const { issuing } = trustReportSchema.parse(trust)
        return state === 'serving' && trustDomain === 'west-g2.mesh1' && issuing?.trustDomain === trustDomain
      })
    })
    await home.stop()
    await home.start()
    expect(await home.status()).toMatchObject({ state: 'serving', trustDomain: 'west-g2.mesh1' })
  })
})

async function revoke(kind: string, subject: string): Promise<number> {
  const { status, body } = await joined.centre.api('POST', '/v1/revocations', { kind, subject, reason: 'a test' })
  if (status >= 300) throw new Error(`not revoked: ${JSON.stringify(body)}`)
  return Number(body['cut'])
}
