import { expect, test } from 'vitest'
import { trustReportSchema } from '#mesh/wire/trust-report.ts'

const hex = 'a'.repeat(64)
const first = {
  ...{ seq: 0, digest: '', proxies: 2, acked: 0, missing: ['shop/web-1: not connected'], missingCount: 2 },
  ...{ issuing: null, serving: null, pinned: [hex], proxyCas: { all: 2, current: 0 } },
  ...{ leaves: { old: 0, oldestNotAfter: 0 }, cuts: [], log: { seq: 0, hash: '' } },
}

test('a relay that holds no bundle yet says so', () => expect(trustReportSchema.parse(first)).toEqual(first))

test('all that a relay in the middle of a rotation says is read', () => {
  const said = {
    ...first,
    ...{ seq: 7, digest: hex, acked: 2, missing: [], missingCount: 0 },
    issuing: { root: hex, notAfter: 5, trustDomain: 'a-g2.mesh1' },
    serving: { ca: hex, notAfter: 5 },
    cuts: [
      { cut: 2, receivedAt: 9, newMs: 40, oldMs: 20_100 },
      { cut: 3, receivedAt: 9, newMs: 40, oldMs: null },
    ],
    log: { seq: 4, hash: hex },
    fault: { reason: 'RolledBack', detail: 'bundle 6 came, 7 is in force' },
  }
  expect(trustReportSchema.parse(said)).toEqual(said)
})

test.each([
  ['more pods than an item names', { missing: Array.from({ length: 21 }, (_, i) => `shop/web-${i}`) }],
  ['a digest that is none', { digest: 'abc' }],
  ['a count below nothing', { acked: -1 }],
  ['a proof without a link', { proof: { bundle: {} } }],
])('%s is refused', (_, odd) => expect(trustReportSchema.safeParse({ ...first, ...odd }).success).toBe(false))
