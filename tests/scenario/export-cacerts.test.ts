import { afterAll, beforeAll, expect, test } from 'vitest'
import { newCaKey } from '#cli/trust/cacerts.ts'
import { certificatePem, parseCertificate } from '#mesh/trust/certificate.ts'
import { checkCertificate } from '#mesh/trust/check-certificate.ts'
import { istiodCaNames } from '#mesh/trust/names.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { csrOf, domain, type Holder, keyInHand, mesh } from '#tests/support/authorities.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { type AnyName, crooked } from '#tests/support/crooked.ts'
import { goForTests, goSays, hasOpenssl, opensslSays } from '#tests/support/second-opinion.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
  await new TestRelay(centre, 'paris').join()
})
afterAll(() => centre?.close())

const ask = (cluster: string, body: object) => centre.admin('POST', `/v1/clusters/${cluster}/istiod-ca`, body)

test('an istiod signs below it what it has to, and nothing else: OpenSSL and Go agree', async () => {
  const key = keyInHand()
  const { status, body } = await ask('paris', { csr: await csrOf(key), days: 30 })
  expect([status, body['trustDomain'], body['confined']]).toEqual([201, 'paris.mesh1', true])
  const certificate = parseCertificate(String(body['certificate']))
  const now = new Date(centre.clock.now)
  const names = istiodCaNames(mesh, domain('paris'))
  expect(checkCertificate(certificate, 'istiod-ca', { names, now })).toEqual([])
  expect(certificate.notAfter.getTime() - now.getTime()).toBe(30 * 86_400_000)
  const ca: Holder = { key, certificate, pem: certificatePem(certificate) }
  const own = { uri: 'spiffe://paris.mesh1/ns/shop/sa/cart' }
  const cases: readonly (readonly [string, readonly AnyName[], boolean])[] = [
    ['a workload of its trust domain', [own], true],
    [
      'its own services, as istiod serves',
      [{ dns: 'istiod.istio-system.svc' }, { dns: 'istiod-rev.istio-system.svc' }],
      true,
    ],
    ['another cluster', [{ uri: 'spiffe://rome.mesh1/ns/shop/sa/cart' }], false],
    ['a name elsewhere', [{ dns: 'relay.isthmus-system.svc' }], false],
    ['any host', [own, { dns: 'example.com' }], false],
    ['an address', [own, { ip: '127.0.0.1' }], false],
  ]
  const life = { notBefore: new Date(now.getTime() - 60_000), notAfter: new Date(now.getTime() + 3_600_000) }
  const leaves = await Promise.all(cases.map(([, some]) => crooked({ names: some, ...life }, ca)))
  const [between, root, at] = [String(body['chain']), String(body['roots']), now.getTime() / 1000]
  const asked = leaves.map(({ der }) => ({ leaf: toPem(der), between, root, at }))
  const wanted = cases.map(([what, , good]) => [what, good])
  const shown = (verdicts: readonly string[]) => verdicts.map((said, i) => [cases[i]?.[0], said === 'OK'])
  if (hasOpenssl()) expect(shown(await opensslSays(asked))).toEqual(wanted)
  const go = goForTests()
  const questions = asked.map((one) => ({ kind: 'chain', purpose: 'sslclient', ...one }))
  if (go) expect(shown(await goSays(go, questions))).toEqual(wanted)
}, 60_000)

test('it stands in the log, by who asked', async () => {
  const { csr } = newCaKey()
  expect((await ask('paris', { csr })).status).toBe(201)
  const { items } = (await centre.admin('GET', '/v1/issuances')).body as { items: Record<string, string>[] }
  expect(items.find(({ kind }) => kind === 'istiod-ca')).toMatchObject({
    cluster: 'paris',
    trustDomain: 'paris.mesh1',
    requester: expect.stringMatching(/^operator:/),
  })
})

test('the key of another cluster’s CA is not taken for an istiod', async () => {
  const key = keyInHand()
  await new TestRelay(centre, 'oslo').join()
  expect((await ask('oslo', { csr: await csrOf(key) })).status).toBe(201)
  const { status, body } = await ask('paris', { csr: await csrOf(key) })
  expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining('is that of another cluster')])
})

test('refused: an unknown cluster, one that has not joined, a life too long, a bad request, whoever is no admin', async () => {
  const { csr } = newCaKey()
  await centre.admin('POST', '/v1/clusters', { name: 'rome' })
  const key = await centre.admin('POST', '/v1/operator-keys', { name: 'ops', role: 'operator' })
  const path = '/v1/clusters/paris/istiod-ca'
  expect((await ask('nowhere', { csr })).status).toBe(404)
  expect((await ask('rome', { csr })).status).toBe(409)
  expect((await ask('paris', { csr, days: 366 })).status).toBe(400)
  expect((await ask('paris', { csr: csr.replace(/[A-Z]{4}/, 'AAAA') })).status).toBe(400)
  expect((await centre.call('POST', path, { bearer: String(key.body['key']), body: { csr } })).status).toBe(403)
})
