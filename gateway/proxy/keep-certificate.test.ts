import { expect, test } from 'vitest'
import type { Identity } from '#gateway/proxy/check-certificate.ts'
import { type ForcedRenewal, forcedRenewal } from '#gateway/proxy/forced.ts'
import { type Clock, type Keeping, keepCertificate, renewAt } from '#gateway/proxy/keep-certificate.ts'
import type { Log } from '#gateway/proxy/log.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseCsr } from '#mesh/trust/csr.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { parseSpiffeId } from '#mesh/trust/spiffe-id.ts'
import { type KeyInHand, make, makeIssuing, makeRoot } from '#tests/support/authorities.ts'

const uri = 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews'
const day = 86_400_000
const start = new Date('2026-03-01T00:00:00Z').getTime()
type Line = { readonly level: string; readonly text: string; readonly atMs: number }

/** A relay and a keeper under a clock that jumps: `wait` takes no time. Ends after `untilMs`. */
async function live(
  untilMs: number,
  relayUp: (ms: number) => boolean,
  random = 0.5,
  onUse: (identity: Identity, atMs: number) => void = () => undefined,
  forced?: ForcedRenewal,
) {
  let ms = 0
  const ending = new AbortController()
  const used: { readonly identity: Identity; readonly atMs: number }[] = []
  const waits: number[] = []
  const lines: Line[] = []
  const root = await makeRoot({ now: new Date(start) })
  const issuing = await makeIssuing(root, 'cluster-a', { now: new Date(start) })
  const clock: Clock = {
    now: () => new Date(start + ms),
    wait: async (forMs) => {
      waits.push(forMs)
      ms += forMs
      if (ms >= untilMs) ending.abort()
    },
    random: () => random,
  }
  const log = (level: string) => (_facts: unknown, text: string) => void lines.push({ level, text, atMs: ms })
  const keeping: Keeping = {
    uri: () => uri,
    clock,
    signal: ending.signal,
    ...(forced && { forced }),
    log: { info: log('info'), warn: log('warn'), error: log('error') } as unknown as Log,
    use: (identity) => {
      onUse(identity, ms)
      used.push({ identity, atMs: ms })
    },
    request: async (csr) => {
      if (!relayUp(ms)) throw new Problem('unavailable', 'the relay is away')
      const key = { spki: parseCsr(csr).spki } as KeyInHand
      const names = identityNames(parseSpiffeId(uri))
      const leaf = await make({ profile: 'workload', names, by: issuing, key, now: clock.now() })
      return [leaf.pem, issuing.pem, root.pem]
    },
  }
  await keepCertificate(keeping)
  return { used, waits, lines }
}

test('a certificate is renewed between 50 and 70 % of its life, each time with a new key', async () => {
  const { used, lines } = await live(3 * day, () => true)
  expect(used.map(({ atMs }) => Math.round((atMs / day) * 10) / 10)).toEqual([0, 0.6, 1.2, 1.8, 2.4])
  expect(new Set(used.map(({ identity }) => identity.keyPem)).size).toBe(5)
  expect(lines.filter(({ level }) => level !== 'info')).toEqual([])
})

test.each([0, 0.25, 0.999])('chance %d stays inside 50 to 70 %%', (random) => {
  const identity = { notAfter: new Date(start + day) } as Identity
  const share = (renewAt(identity, new Date(start), random).getTime() - start) / day
  expect(share).toBeGreaterThanOrEqual(0.5)
  expect(share).toBeLessThanOrEqual(0.7)
})

test('a renewal that the relay asks for comes at its time, once for each certificate', async () => {
  const forced = forcedRenewal()
  const { used } = await live(
    0.4 * day,
    () => true,
    0.5,
    ({ serial }, atMs) => {
      if (atMs === 0) forced.renew(serial, new Date(start + 7000))
      forced.renew(serial, new Date(start + atMs + (atMs === 0 ? 100 : 3_600_000)))
    },
    forced,
  )
  expect(used.slice(0, 4).map(({ atMs }) => atMs)).toEqual([0, 7000, 3_607_000, 7_207_000])
})

test('a renewal that is asked for while nothing is due wakes the one that waits', async () => {
  const forced = forcedRenewal()
  const waiting = forced.onChange(() => waiting())
  let woken = 0
  const off = forced.onChange(() => woken++)
  forced.renew('aa', new Date(start))
  off()
  forced.renew('bb', new Date(start))
  expect([woken, forced.at('aa'), forced.at('bb')]).toEqual([1, undefined, new Date(start)])
})

test('a relay that is away at the start is asked for ever, at most 15 s apart, and heard as soon as it is back', async () => {
  const back = 2 * 3_600_000
  const { used, waits } = await live(back + 60_000, (ms) => ms >= back, 1)
  expect(used).toHaveLength(1)
  expect(used[0]?.atMs).toBeLessThanOrEqual(back + 15_000)
  expect(waits.slice(0, 4)).toEqual([200, 400, 800, 1600])
  expect(Math.max(...waits.slice(0, -1))).toBe(15_000)
})

test('a relay lost later: the old certificate stays, and each threshold is warned of once', async () => {
  const { used, lines } = await live(1.2 * day, (ms) => ms === 0)
  expect(used).toHaveLength(1)
  const warned = lines.filter(({ text }) => /%|has ended/.test(text))
  expect(warned.map(({ level, text }) => [level, text.match(/50 %|25 %|10 %|has ended/)?.[0]])).toEqual([
    ['warn', '50 %'],
    ['warn', '25 %'],
    ['warn', '10 %'],
    ['error', 'has ended'],
  ])
})

test('a certificate that cannot be put to use (a full disk) is asked for again', async () => {
  const { used, lines } = await live(
    60_000,
    () => true,
    0.5,
    (_, ms) => {
      if (ms <= 20_000) throw new Error('the disk is full')
    },
  )
  expect(used).toHaveLength(1)
  expect(used[0]?.atMs).toBeGreaterThan(20_000)
  expect(lines[0]?.text).toContain('the disk is full')
})

test('an answer that cannot be used counts as none', async () => {
  let calls = 0
  const ending = new AbortController()
  const keeping = {
    uri: () => uri,
    signal: ending.signal,
    clock: { now: () => new Date(), wait: async () => void (calls === 3 && ending.abort()), random: () => 0 },
    log: { info: () => undefined, warn: () => undefined, error: () => undefined } as unknown as Log,
    use: () => expect.unreachable(),
    request: async () => {
      calls += 1
      return ['not a certificate', 'nor this']
    },
  }
  await keepCertificate(keeping)
  expect(calls).toBe(3)
})
