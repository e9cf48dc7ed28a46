import { generateKeyPairSync } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import { identityOf } from '#gateway/proxy/check-certificate.ts'
import { Problem } from '#mesh/model/problem.ts'
import { identityNames } from '#mesh/trust/names.ts'
import { parseSpiffeId } from '#mesh/trust/spiffe-id.ts'
import { type Holder, type KeyInHand, type Make, make, makeIssuing, makeRoot } from '#tests/support/authorities.ts'

const uri = 'spiffe://cluster-a.mesh1/ns/shop/sa/reviews'
const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const own = { spki: new Uint8Array(keys.publicKey.export({ type: 'spki', format: 'der' })) } as KeyInHand
const now = new Date()
let root: Holder
let otherRoot: Holder
let issuing: Holder
beforeAll(async () => {
  root = await makeRoot()
  otherRoot = await makeRoot()
  issuing = await makeIssuing(root, 'cluster-a')
})

const leaf = (more: Partial<Make> & { readonly for?: string } = {}): Promise<Holder> =>
  make({ profile: 'workload', names: identityNames(parseSpiffeId(more.for ?? uri)), by: issuing, key: own, ...more })

test('an honest answer is an identity: chain without the root, own key, roots apart', async () => {
  const { pem } = await leaf()
  const identity = identityOf([pem, issuing.pem, root.pem], { uri, keys, now })
  expect(identity.chainPem).toBe(pem + issuing.pem)
  expect(identity.rootsPem).toBe(root.pem)
  expect(identity.keyPem).toContain('PRIVATE KEY')
})

test('several roots may stand in the last element, as during a rotation', async () => {
  const answer = [(await leaf()).pem, issuing.pem, otherRoot.pem + root.pem]
  expect(identityOf(answer, { uri, keys, now }).rootsPem).toBe(otherRoot.pem + root.pem)
})

describe('refused', () => {
  const hour = 3_600_000
  const cases: Readonly<Record<string, readonly [() => Promise<readonly string[]>, string, Date?]>> = {
    'nothing at all': [async () => [], 'it holds 0 elements'],
    'a leaf alone': [async () => [(await leaf()).pem], 'it holds 1 elements'],
    'text that is no certificate': [async () => ['hello', root.pem], 'answer'],
    'another key': [
      async () => chain(await make({ profile: 'workload', names: { uri }, by: issuing })),
      'is not the key it was asked for',
    ],
    'another service account': [
      async () => chain(await leaf({ for: `${uri}-2` })),
      'expected is spiffe://cluster-a.mesh1/ns/shop/sa/reviews',
    ],
    'a certificate of tomorrow': [async () => chain(await leaf()), 'in the future', new Date(now.getTime() - hour)],
    'a certificate that has ended': [
      async () => chain(await leaf({ lifeSeconds: 60 })),
      'ended at',
      new Date(now.getTime() + hour),
    ],
    'a root that did not sign it': [
      async () => [(await leaf()).pem, issuing.pem, otherRoot.pem],
      'not signed by a trusted root',
    ],
    'a link left out': [async () => [(await leaf()).pem, root.pem], 'chain[0]'],
  }
  const chain = (one: Holder) => [one.pem, issuing.pem, root.pem]

  test.each(Object.entries(cases))('%s', async (_name, [answer, reason, at = now]) => {
    const given = await answer()
    const run = () => identityOf(given, { uri, keys, now: at })
    expect(run).toThrow(Problem)
    expect(run).toThrow(reason)
  })
})
