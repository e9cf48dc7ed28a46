import type { AddressInfo } from 'node:net'
import { createServer } from 'node:tls'
import { beforeAll, expect, test } from 'vitest'
import { shownChain } from '#cli/trust/shown-chain.ts'
import { type Expected, verifyChain } from '#cli/trust/verify.ts'
import { refusalsIn, refusalsText, verifiedText } from '#cli/trust/verify-text.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { identityNames, relayServingNames } from '#mesh/trust/names.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import {
  domain,
  type Holder,
  make,
  makeControlPlaneCa,
  makeIssuing,
  makeRoot,
  mesh,
} from '#tests/support/authorities.ts'
import { foreignLeaf, foreignRoot } from '#tests/support/foreign-mesh.ts'

const now = new Date('2026-05-01T12:00:00Z')
let [root, other, ca, leaf] = [] as unknown as [Holder, Holder, Holder, Holder]
const leafOf = (cluster: string, by: Holder) =>
  make({ profile: 'workload', names: identityNames(spiffeId(`${cluster}.mesh1`, 'shop', 'web')), by, now })

beforeAll(async () => {
  ;[root, other] = await Promise.all([makeRoot({ now }), makeRoot({ now })])
  ca = await makeIssuing(root, 'paris', { now })
  leaf = await leafOf('paris', ca)
})

const failed = (expected: Partial<Expected>, ...chain: readonly Holder[]): readonly string[] => {
  const [own, ...more] = chain.map(({ certificate }) => certificate)
  if (!own) throw new Error('an empty chain')
  const { verdicts } = verifyChain([own, ...more], { now, roots: [root.certificate], ...expected })
  return verdicts.flatMap(({ faults }) => faults)
}
const members = { admitted: ['paris.mesh1'], revoked: ['oslo.mesh1'] }

test('an honest chain holds every rule, as what it is', () => {
  expect(failed({ members, domain: 'paris.mesh1' }, leaf, ca)).toEqual([])
  expect(failed({ members }, leaf, ca, root)).toEqual([])
  expect(failed({ members, roots: [root.certificate] }, ca)).toEqual([])
  expect(failed({}, root)).toEqual([])
})

test('a rule that does not hold is named, with its reason', async () => {
  const foreign = await makeIssuing(root, 'oslo', { now })
  const liar = await leafOf('paris', foreign)
  const late = new Date(now.getTime() + 25 * 3_600_000)
  expect(failed({ now: late }, leaf, ca).join()).toMatch(/ended at 2026-05-02/)
  expect(failed({ roots: [other.certificate] }, leaf, ca)).toEqual(['chain[1] is not signed by a trusted root'])
  expect(failed({}, leaf, foreign).join()).toMatch(/was not made by its issuer/)
  expect(failed({}, liar, foreign).join()).toMatch(/its uri name/)
  expect(failed({ domain: 'oslo.mesh1' }, leaf, ca)).toEqual(['it is of paris.mesh1'])
  expect(failed({ as: 'issuing-ca' }, leaf, ca).join()).toMatch(/is no authority/)
  expect(failed({ members }, await leafOf('oslo', foreign), foreign)).toEqual(['oslo.mesh1 is revoked'])
  expect(failed({ members: { ...members, admitted: [] } }, leaf, ca)).toEqual([
    'paris.mesh1 is of no member: there are none',
  ])
})

test('a certificate of another mesh is judged by its own roots, and by whom it is admitted', async () => {
  const life = { notBefore: new Date(now.getTime() - 300_000), notAfter: new Date(now.getTime() + 3_600_000) }
  const theirs = await foreignRoot('partner', {}, life)
  const leafOf = async (...uris: readonly string[]) => {
    const names = uris.map((host) => ({ uri: `spiffe://${host}/ns/shop/sa/web` }))
    const { cert, key } = await foreignLeaf(theirs, names, life)
    return { certificate: parseCertificate(cert.split(/(?<=-----END CERTIFICATE-----\n)/)[0] ?? ''), pem: cert, key }
  }
  const asHolder = (one: Awaited<ReturnType<typeof leafOf>>) => one as never as Holder
  const foreign = (admittedBy: readonly string[], root = theirs) => [
    { trustDomain: 'partner.example', roots: [root.certificate], admittedBy },
  ]
  const honest = asHolder(await leafOf('partner.example'))
  expect(failed({ members, foreign: foreign(['paris/shop/web']) }, honest)).toEqual([])
  expect(failed({ members, foreign: foreign([]) }, honest).join()).toMatch(/admitted nowhere/)
  expect(failed({ members, foreign: foreign(['x'], other) }, honest).join()).toMatch(/not signed by a trusted root/)
  const two = asHolder(await leafOf('partner.example', 'paris.mesh1'))
  expect(failed({ members, foreign: foreign(['x']) }, two)).toEqual(['it names 2 URIs'])
  expect(failed({ members, foreign: foreign(['x']) }, asHolder(await leafOf('paris.mesh1'))).join()).toMatch(
    /not signed by a trusted root/,
  )
})

test('a relay is judged as a relay', async () => {
  const controlPlane = await makeControlPlaneCa({ now })
  const names = relayServingNames(domain('paris'), { asIstiod: false, ips: ['127.0.0.1', 'fd00::1'] })
  const relay = await make({ profile: 'relay-serving', names, by: controlPlane, now })
  expect(failed({ roots: [controlPlane.certificate] }, relay)).toEqual([])
  const verified = verifyChain([relay.certificate], { now, roots: [controlPlane.certificate] })
  const text = verifiedText(relay.certificate, verified, { now: now.getTime(), from: 'relay' })
  expect(text).toContain(', 127.0.0.1, fd00:0:0:0:0:0:0:1\n')
  expect(mesh).toBe('mesh1')
})

test('every rule has its line, and what a server shows is judged without a certificate of one’s own', async () => {
  const server = createServer({
    ...{ key: leaf.key.keyPem, cert: `${leaf.pem}${ca.pem}`, requestCert: true, rejectUnauthorized: true },
    ...{ ca: root.pem, minVersion: 'TLSv1.3' },
  })
  server.on('tlsClientError', () => undefined)
  await new Promise<void>((listens) => server.listen(0, '127.0.0.1', listens))
  const { port } = server.address() as AddressInfo
  const chain = await shownChain({ host: '127.0.0.1', port })
  server.close()
  expect(chain.map(({ serial }) => serial)).toEqual([leaf, ca].map(({ certificate }) => certificate.serial))
  const verified = verifyChain(chain, { now, roots: [other.certificate] })
  const text = verifiedText(chain[0], verified, { now: now.getTime(), from: `127.0.0.1:${port}` })
  expect(text).toContain('spiffe://paris.mesh1/ns/shop/sa/web')
  expect(text.match(/^PASS/gm)).toHaveLength(verified.verdicts.length - 1)
  expect(text).toMatch(/^FAIL {2}every link from it to a root/m)
  expect(text).toMatch(/\n1 of \d+ rules do not hold\n$/)
  await expect(shownChain({ host: '127.0.0.1', port: 9 })).rejects.toMatchObject({ kind: 'unavailable' })
})

test('refusals at the address, as its relay heard of them, are told', () => {
  const seen = { local: '10.0.0.9:8080', peer: 'spiffe://x/\u001b[2J', reason: 'name', cause: 'SAN matcher', count: 3 }
  const body = {
    refusals: [
      { ...seen, pod: 'shop/web-1' },
      { ...seen, local: '10.0.0.8:8080' },
    ],
  }
  const answers = [
    { cluster: 'paris', url: '', body },
    { cluster: 'oslo', url: '', reason: 'nothing listens there' },
  ]
  const text = refusalsText(refusalsIn(answers, '10.0.0.9:8080'))
  expect(text).toContain('  spiffe://x/?[2J: name, 3 times, at shop/web-1: SAN matcher\n')
  expect(text.split('\n')).toHaveLength(4)
  expect(refusalsText(refusalsIn(answers, '10.0.0.7:8080'))).toBe('')
})
