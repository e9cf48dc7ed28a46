import { generateKeyPairSync, randomUUID, sign, X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { certificatesPerHourMax } from '#control/issue-intermediate.ts'
import { assembleCsr, buildCsrTbs } from '#mesh/trust/csr.ts'
import { parseJoinToken } from '#mesh/wire/join-token.ts'
import { openTestCentre, type TestCentre, TestRelay } from '#tests/support/centre.ts'
import { exported, facts, gateways, summary } from '#tests/support/stores.ts'

let centre: TestCentre
beforeAll(async () => {
  centre = await openTestCentre()
})
afterAll(() => centre.close())

let count = 0
const fresh = () => new TestRelay(centre, `c${++count}`)
const hour = 60 * 60_000

async function csr(): Promise<string> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const tbs = buildCsrTbs(new Uint8Array(publicKey.export({ type: 'spki', format: 'der' })))
  return assembleCsr(tbs, 'ecdsa-sha256', new Uint8Array(sign('sha256', tbs, privateKey)))
}

describe('join', () => {
  test('a token makes its bearer the member it was made for', async () => {
    const relay = fresh()
    const answer = await relay.redeem(await relay.invite())
    expect(answer.body).toMatchObject({
      cluster: relay.name,
      mesh: 'mesh1',
      trustDomain: `${relay.name}.mesh1`,
      generation: 1,
    })
    expect(new X509Certificate(String(answer.body['controlPlaneCa'])).ca).toBe(true)
    const shown = await centre.admin('GET', `/v1/clusters/${relay.name}`)
    expect(shown.body).toMatchObject({ state: 'joined', network: `net-${relay.name}`, region: 'eu-1' })
  })

  test('the same token with the same key gives the same answer within its hour', async () => {
    const relay = fresh()
    const token = await relay.invite()
    const first = await relay.redeem(token)
    expect((await relay.redeem(token)).body).toEqual(first.body)
  })

  test('the token holds URL, cluster and CA digest, and its secret is stored nowhere', async () => {
    const relay = fresh()
    await relay.invite()
    const { body } = await centre.admin('POST', `/v1/clusters/${relay.name}/join-tokens`)
    const token = parseJoinToken(`${String(body['token'])}\n`)
    expect(token).toMatchObject({ url: 'https://centre.test:7400', cluster: relay.name, caSha256: 'ab'.repeat(32) })
    expect(Buffer.from(token.token, 'base64url')).toHaveLength(32)
    const audit = await centre.admin('GET', '/v1/audit-events')
    expect(JSON.stringify(audit.body)).not.toContain(token.token)
  })

  test('the same Idempotency-Key gives the same token, and only to the same caller', async () => {
    const relay = fresh()
    await relay.invite()
    const path = `/v1/clusters/${relay.name}/join-tokens`
    const one = await centre.admin('POST', path, undefined, { 'idempotency-key': 'k1' })
    const same = await centre.admin('POST', path, undefined, { 'idempotency-key': 'k1' })
    const other = await centre.admin('POST', path, undefined, { 'idempotency-key': 'k2' })
    expect(same.body).toEqual(one.body)
    expect(other.body['token']).not.toBe(one.body['token'])
  })

  test('another key on a spent token is refused', async () => {
    const [relay, thief] = [fresh(), fresh()]
    const token = await relay.invite()
    await relay.redeem(token)
    const answer = await thief.redeem(token, { cluster: relay.name })
    expect(answer).toMatchObject({ status: 409, body: { detail: expect.stringContaining('spent by another key') } })
  })

  test('a token is good for one hour', async () => {
    const relay = fresh()
    const token = await relay.invite()
    centre.clock.now += hour
    expect(await relay.redeem(token)).toMatchObject({
      status: 403,
      body: { detail: expect.stringContaining('expired') },
    })
  })

  test("another cluster's token, an unknown one, and one of a cluster that was removed are told apart", async () => {
    const [relay, other] = [fresh(), fresh()]
    const token = await other.invite()
    expect((await relay.redeem(token)).body['detail']).toContain(`was made for cluster "${other.name}"`)
    expect((await relay.redeem('x'.repeat(43))).body['detail']).toContain('not known here')
    await centre.admin('DELETE', `/v1/clusters/${other.name}`)
    expect(await other.redeem(token)).toMatchObject({ status: 403 })
  })

  test('two relays that redeem one token at once: one joins', async () => {
    const [relay, twin] = [fresh(), fresh()]
    const token = await relay.invite()
    const both = await Promise.all([relay.redeem(token), twin.redeem(token, { cluster: relay.name })])
    expect(both.map(({ status }) => status).toSorted()).toEqual([200, 409])
  })

  test.each([
    ['a relay two minors ahead', { proto: 'mesh-sync/1.2' }, 409, 'upgrade the centre first'],
    ['a relay of another major', { proto: 'mesh-sync/0.9' }, 409, 'upgrade the relay first'],
    ['no version at all', { proto: 'hello' }, 400, 'not a mesh-sync version'],
    [
      'a key that is no point',
      { key: { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) } },
      400,
      'P-256',
    ],
    ['a network that is no name', { network: 'Net_1' }, 400, 'network'],
  ])('%s is refused and the token is not spent', async (_, more, status, detail) => {
    const relay = fresh()
    const token = await relay.invite()
    const refused = await relay.redeem(token, more)
    expect(refused).toMatchObject({ status, body: { detail: expect.stringContaining(detail) } })
    expect((await relay.redeem(token)).status).toBe(200)
  })

  test('one minor ahead works, and unknown fields are ignored', async () => {
    const relay = fresh()
    const token = await relay.invite()
    expect((await relay.redeem(token, { proto: 'mesh-sync/1.1', colour: 'green' })).status).toBe(200)
  })

  test('coming back after leaving raises the generation, and nothing of the former life is there', async () => {
    const relay = await fresh().join()
    await relay.sync(
      { cluster: facts(`net-${relay.name}`), gateways, 'export/shop/old': exported(), 'summary/shop/old': summary(1) },
      { complete: true },
    )
    await centre.admin('DELETE', `/v1/clusters/${relay.name}`)
    const again = new TestRelay(centre, relay.name)
    await again.join()
    expect(again).toMatchObject({ id: relay.id, generation: 2, trustDomain: `${relay.name}-g2.mesh1` })
    await centre.settle()
    const exports = await centre.admin('GET', `/v1/service-exports?cluster=${relay.name}`)
    expect(exports.body['items']).toEqual([])
  })
})

describe('a token for an assertion', () => {
  test('works for one hour, for the cluster that holds the key', async () => {
    const relay = await fresh().join()
    expect((await relay.sync({ cluster: facts(`net-${relay.name}`) })).status).toBe(200)
    centre.clock.now += hour
    expect((await relay.sync({})).status).toBe(401)
  })

  test('an assertion works once', async () => {
    const relay = await fresh().join()
    const assertion = relay.assertion()
    expect((await relay.authenticate(assertion)).status).toBe(200)
    expect((await relay.authenticate(assertion)).status).toBe(401)
  })

  test.each([-10, 10])('a clock %i minutes off is refused with the time of the centre', async (minutes) => {
    const relay = await fresh().join()
    const iat = Math.floor(centre.clock.now / 1000) + minutes * 60
    const answer = await relay.authenticate(relay.assertion({ iat, exp: iat + 60 }))
    expect(answer).toMatchObject({ status: 401, body: { time: centre.clock.now } })
    expect(answer.body['detail']).toContain(`600 s ${minutes < 0 ? 'behind' : 'ahead of'}`)
  })

  test.each([-4, 4])('a clock %i minutes off is forgiven', async (minutes) => {
    const relay = await fresh().join()
    const iat = Math.floor(centre.clock.now / 1000) + minutes * 60
    expect((await relay.authenticate(relay.assertion({ iat, exp: iat + 300 }))).status).toBe(200)
  })

  test('every other fault hears the same bland sentence', async () => {
    const [relay, other] = [await fresh().join(), await fresh().join()]
    const [head = '', claims = ''] = relay.assertion().split('.')
    const faults = {
      foreignKey: other.assertion({ iss: relay.id, sub: relay.id }),
      foreignKid: relay.assertion({}, 'x'.repeat(43)),
      issuer: relay.assertion({ iss: randomUUID() }),
      unknown: relay.assertion({ iss: randomUUID(), sub: randomUUID() }),
      unsigned: `${Buffer.from('{"alg":"none"}').toString('base64url')}.${claims}.AAAA`,
      cut: `${head}.${claims}.${'A'.repeat(40)}`,
      garbage: 'a'.repeat(100),
    }
    for (const [name, assertion] of Object.entries(faults)) {
      const answer = await relay.authenticate(assertion)
      expect([name, answer.status]).toEqual([name, 401])
      expect(answer.body['detail']).toBe('the credential is missing, wrong, expired or withdrawn')
    }
  })

  test('one for another centre is told so', async () => {
    const relay = await fresh().join()
    const answer = await relay.authenticate(relay.assertion({ aud: 'https://elsewhere.test' }))
    expect(answer.body['detail']).toContain('this centre is https://centre.test:7400')
  })

  test('a cluster that is removed, or joins anew with another key, is shut out at once', async () => {
    const [gone, replaced] = [await fresh().join(), await fresh().join()]
    await centre.admin('DELETE', `/v1/clusters/${gone.name}`)
    expect((await gone.sync({})).status).toBe(401)
    expect((await gone.authenticate()).status).toBe(401)
    const heir = await new TestRelay(centre, replaced.name).join()
    expect(heir).toMatchObject({ id: replaced.id, generation: 1 })
    expect((await replaced.sync({})).status).toBe(401)
    expect((await replaced.authenticate()).status).toBe(401)
  })
})

describe('certificates', () => {
  const path = (id: string) => `/v1/clusters/${id}/certificates`

  test("the issuing CA is shut into the cluster's own trust domain, and logged", async () => {
    const relay = await fresh().join()
    const body = { kind: 'issuing', csr: await csr() }
    const answer = await centre.call('POST', path(relay.id), { bearer: relay.bearer, body })
    const [root] = answer.body['roots'] as string[]
    const certificate = new X509Certificate(String(answer.body['chain']))
    expect(certificate.subjectAltName).toBe(`URI:spiffe://${relay.trustDomain}`)
    expect(certificate.verify(new X509Certificate(String(root)).publicKey)).toBe(true)
    const audit = await centre.admin('GET', '/v1/audit-events?limit=1')
    const serial = certificate.serialNumber.toLowerCase()
    expect(audit.body['items']).toMatchObject([
      { action: 'certificate.issue', caller: `cluster:${relay.name}`, detail: { serial } },
    ])
  })

  test("the relay's serving certificate is of the control-plane CA, never for the centre's own address", async () => {
    const relay = await fresh().join()
    const body = {
      kind: 'relay-serving',
      csr: await csr(),
      ips: ['127.21.0.1'],
      dnsNames: ['relay.isthmus-system.svc'],
    }
    const answer = await centre.call('POST', path(relay.id), { bearer: relay.bearer, body })
    const names = new X509Certificate(String(answer.body['chain'])).subjectAltName
    expect(names).toContain('IP Address:127.21.0.1')
    expect(names).toContain(`spiffe://${relay.trustDomain}/ns/isthmus-system/sa/relay`)
    const stolen = await centre.call('POST', path(relay.id), {
      bearer: relay.bearer,
      body: { ...body, ips: ['127.0.0.1'] },
    })
    expect(stolen.status).toBe(403)
  })

  test("another cluster's, an operator's and a broken request are refused", async () => {
    const [relay, other] = [await fresh().join(), await fresh().join()]
    const body = { kind: 'issuing', csr: await csr() }
    expect((await centre.call('POST', path(other.id), { bearer: relay.bearer, body })).status).toBe(403)
    expect((await centre.admin('POST', path(relay.id), body)).status).toBe(403)
    const broken = await centre.call('POST', path(relay.id), {
      bearer: relay.bearer,
      body: { ...body, csr: 'x'.repeat(200) },
    })
    expect(broken.status).toBe(400)
  })

  test('a relay that asks over and over is slowed down', async () => {
    const relay = await fresh().join()
    const body = { kind: 'issuing', csr: await csr() }
    const ask = () => centre.call('POST', path(relay.id), { bearer: relay.bearer, body })
    for (let i = 0; i < certificatesPerHourMax; i++) expect((await ask()).status).toBe(200)
    const refused = await ask()
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '600'])
  })
})
