import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { insertAuthority, loadAuthorities } from '#control/store/authorities.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { selfSigned } from '#tests/support/self-signed.ts'
import { exported } from '#tests/support/stores.ts'
import { TrustingRelay } from '#tests/support/trusting-relay.ts'

let test1: TestCentre
let east: TrustingRelay
let west: TrustingRelay
beforeAll(async () => {
  test1 = await openTestCentre()
  east = await TrustingRelay.join(test1, 'east')
  west = await TrustingRelay.join(test1, 'west')
  for (const relay of [east, west]) await relay.keepUp()
  await east.relay.sync({
    'export/shop/web': exported({ consumers: ['*', 'spiffe://partner.example'] }),
    'export/shop/cart': exported(),
    'export/shop/odd': exported({ consumers: ['spiffe://nobody.example'] }),
  })
  await test1.settle()
})
afterAll(() => test1.close())

const at = '/v1/foreign-domains/partner.example'
/** The clock of the centre stands in March 2026. */
const years = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2036-01-01T00:00:00Z') }
const root = (subject: string, more = {}) => selfSigned({ subject, ...years, ...more })
const [one, two] = [root('partner 1'), root('partner 2')]
const put = (bundle: string, path = at, headers = {}) => test1.admin('PUT', path, { bundle }, headers)
const spiffe = (sequence: number, ...roots: readonly Uint8Array[]) =>
  JSON.stringify({
    keys: roots.map((der) => {
      const { kty } = parseCertificate(der).publicKey.key.export({ format: 'jwk' })
      return { use: 'x509-svid', kty, x5c: [Buffer.from(der).toString('base64')] }
    }),
    spiffe_sequence: sequence,
    spiffe_refresh_hint: 600,
  })
const exportOf = async (service: string) => {
  await test1.settle()
  await east.relay.pull()
  const text = east.relay.held.get('cfg/east')?.items.get(`export/shop/${service}`)
  return JSON.parse(text ?? '{}') as { foreign?: string[]; cut?: number; consumers?: string[] }
}
const faultsOf = ({ body }: { body: Record<string, unknown> }) =>
  (body['violations'] as { path: string; reason: string }[]).map(({ path, reason }) => `${path}: ${reason}`)

test('nobody of another mesh is admitted before an operator brought it in, whatever a list says', async () => {
  expect(await exportOf('web')).toMatchObject({ consumers: ['west'] })
  expect(await exportOf('web')).not.toHaveProperty('foreign')
  const { body } = await test1.admin('GET', '/v1/service-exports?cluster=east&service=shop/web')
  expect(body['items']).toMatchObject([{ consumers: ['*'], conditions: [{ reason: 'NotFederated' }] }])
})

test('federated, its roots are in the next bundle, and the exports that name it admit it; no other does', async () => {
  const { status, body } = await put(spiffe(3, one))
  expect([status, body]).toMatchObject([
    201,
    { trustDomain: 'partner.example', sequence: 3, refreshSeconds: 600, revision: 1, admittedBy: ['east/shop/web'] },
  ])
  // Nothing was published meanwhile: the bundle alone says it, and its chain holds.
  await west.take()
  expect([west.fault, west.bundle?.foreign]).toEqual([
    undefined,
    [{ trustDomain: 'partner.example', roots: [toPem(one)] }],
  ])
  expect(await exportOf('web')).toMatchObject({ consumers: ['west'], foreign: ['partner.example'] })
  expect(await exportOf('cart')).not.toHaveProperty('foreign')
  expect(await exportOf('odd')).not.toHaveProperty('foreign')
  const list = await test1.admin('GET', '/v1/foreign-domains')
  expect(list.body['items']).toMatchObject([{ id: 'partner.example', roots: [{ certificate: toPem(one) }] }])
  const { body: trust } = await test1.admin('GET', '/v1/trust')
  expect(trust['foreign']).toMatchObject([{ trustDomain: 'partner.example', admittedBy: ['east/shop/web'] }])
})

test('a new root beside the old one is one link more; the same again is none', async () => {
  const before = (await west.take()).bundle?.seq ?? 0
  expect((await put(spiffe(4, one, two))).body).toMatchObject({ revision: 2, sequence: 4 })
  await west.take()
  expect([west.fault, west.bundle?.seq]).toEqual([undefined, before + 1])
  expect(west.bundle?.foreign[0]?.roots).toEqual([toPem(one), toPem(two)])
  expect((await put(spiffe(4, one, two))).body).toMatchObject({ revision: 2 })
  expect((await west.take()).bundle?.seq).toBe(before + 1)
})

describe('refused, with every fault at once', () => {
  const ended = root('ended', { notAfter: new Date('2026-02-01T00:00:00Z') })
  test('an older bundle of theirs, and another one of the same number', async () => {
    expect(faultsOf(await put(spiffe(3, two)))).toEqual([expect.stringMatching(/^spiffe_sequence: is 3, and 4 is in/)])
    expect(faultsOf(await put(spiffe(4, two)))).toEqual([expect.stringMatching(/^spiffe_sequence: .*others/)])
  })

  test('the root of this mesh, one of another mesh, and what is no root at all', async () => {
    const { certificate } = await test1.centre.keys.active('root')
    const other = '/v1/foreign-domains/other.example'
    const answer = await put([certificate.der, two, ended].map((der) => toPem(der)).join(''), other)
    expect([answer.status, faultsOf(answer)]).toEqual([
      400,
      [
        'roots[0]: is the same certificate as root 1 of this mesh',
        'roots[1]: is the same certificate as a root of partner.example',
        'roots[2]: ended at 2026-02-01T00:00:00.000Z',
      ],
    ])
    const { certificate: controlPlane } = await test1.centre.keys.active('control-plane')
    expect(faultsOf(await put(toPem(controlPlane.der), other))).toContainEqual(
      expect.stringContaining('control-plane 1 of this mesh'),
    )
    expect(answer.body['detail']).toContain('(and 2 more)')
  })

  test('a root that this mesh gave up: whoever has its key would speak for the other mesh', async () => {
    const pem = toPem(root('given up'))
    await test1.db.transact(async (tx) => {
      const [first] = await loadAuthorities(tx, test1.centre.mesh)
      if (first)
        await insertAuthority(tx, {
          ...first,
          id: 'given-up',
          kind: 'root',
          number: 9,
          certificate: pem,
          state: 'revoked',
        })
    })
    expect(faultsOf(await put(pem, '/v1/foreign-domains/other.example'))).toEqual([
      'roots[0]: is the same certificate as root 9 of this mesh',
    ])
  })

  test('a trust domain of this mesh, taken or not, or one that is none', async () => {
    const of = async (name: string) => faultsOf(await put(toPem(root('x')), `/v1/foreign-domains/${name}`))
    expect(await of('east.mesh1')).toEqual([expect.stringMatching(/^trustDomain: ends in "\.mesh1"/)])
    expect(await of('soon.mesh1')).toEqual([expect.stringMatching(/^trustDomain: ends in "\.mesh1"/)])
    expect(await of('mesh1')).toEqual([expect.stringMatching(/^trustDomain: ends in/)])
    expect(await of('Partner.example')).toEqual([expect.stringMatching(/^trustDomain: .*capitals/)])
    expect(await of('a_b.example')).toEqual([expect.stringMatching(/^trustDomain: has a label/)])
    expect(await of(`${'a'.repeat(63)}.${'b'.repeat(63)}.example`)).toEqual([expect.stringMatching(/at most 127/)])
  })

  test('text that is no bundle, too long a one, a stale revision, and whoever is no administrator', async () => {
    expect((await put('{"keys": [')).body['detail']).toContain('not JSON')
    expect((await put('x'.repeat(300_000))).body['detail']).toContain('at most 262144')
    expect((await put('x'.repeat(2 ** 20))).status).toBe(413)
    expect((await put(spiffe(5, two), at, { 'if-match': '"1"' })).status).toBe(412)
    expect((await test1.call('PUT', at, { body: { bundle: spiffe(5, two) } })).status).toBe(401)
  })

  test('and nothing of it has changed anything', async () => {
    expect((await test1.admin('GET', at)).body).toMatchObject({ revision: 2, sequence: 4 })
    expect((await test1.admin('GET', '/v1/foreign-domains')).body['items']).toHaveLength(1)
  })
})

test('a dry run says what would be, and nothing is', async () => {
  const { status, body } = await put(spiffe(9, two), `${at}?dryRun=true`)
  expect([status, body]).toMatchObject([200, { sequence: 9, roots: [{ certificate: toPem(two) }] }])
  expect((await put(spiffe(3, two), `${at}?dryRun=true`)).status).toBe(400)
  expect((await test1.admin('GET', at)).body).toMatchObject({ sequence: 4 })
})

test('the operator’s list of an export narrows whom of other meshes it admits, as of members', async () => {
  const narrow = (consumers: string[]) => test1.admin('PUT', '/v1/service-exports/shop/web', { consumers })
  expect((await narrow(['*'])).status).toBe(201)
  expect(await exportOf('web')).toMatchObject({ consumers: ['west'] })
  expect(await exportOf('web')).not.toHaveProperty('foreign')
  expect((await narrow(['spiffe://partner.example'])).body).toMatchObject({ conditions: [] })
  expect(await exportOf('web')).toMatchObject({ consumers: [], foreign: ['partner.example'] })
  expect((await narrow(['spiffe://Partner'])).status).toBe(400)
  await test1.admin('DELETE', '/v1/service-exports/shop/web')
})

test('one workload of another mesh is denied by its id', async () => {
  const subject = 'spiffe://partner.example/ns/shop/sa/thief'
  const made = await test1.admin('POST', '/v1/revocations', { kind: 'workload', subject, reason: 'it was taken over' })
  expect([made.status, made.body]).toMatchObject([201, { cluster: '', trustDomain: 'partner.example' }])
  await west.take()
  expect([west.fault, west.bundle?.denied]).toMatchObject([undefined, [{ id: subject }]])
  await test1.admin('POST', `/v1/revocations/${String(made.body['cut'])}/undo`, { reason: 'it was found' })
})

test('taken out: no root of it is left, what admitted it is cut, and it is not let in again but with its roots', async () => {
  expect((await test1.admin('DELETE', at)).status).toBe(400)
  const { status, body } = await test1.admin('DELETE', `${at}?reason=the%20contract%20ended`)
  expect([status, body]).toMatchObject([200, { kind: 'foreign', subject: 'partner.example', newMsMax: null }])
  const { cut } = body as { readonly cut: number }
  await west.take()
  expect([west.fault, west.bundle?.foreign, west.bundle?.unfederated]).toMatchObject([
    undefined,
    [],
    [{ trustDomain: 'partner.example', cut }],
  ])
  const web = await exportOf('web')
  expect(web).toMatchObject({ consumers: ['west'], cut })
  expect(web).not.toHaveProperty('foreign')
  expect(await exportOf('cart')).not.toHaveProperty('cut')
  expect((await test1.admin('DELETE', `${at}?reason=again`)).status).toBe(204)
  expect((await test1.admin('GET', at)).status).toBe(404)
  const undo = await test1.admin('POST', `/v1/revocations/${cut}/undo`, { reason: 'no' })
  expect([undo.status, undo.body['detail']]).toEqual([409, expect.stringContaining('trust federate partner.example')])

  // What they were numbered before is forgotten: an operator looks at what he brings in.
  expect((await put(spiffe(1, two))).status).toBe(201)
  await west.take()
  expect([west.bundle?.foreign.length, west.bundle?.unfederated]).toEqual([1, undefined])
  expect(await exportOf('web')).toMatchObject({ foreign: ['partner.example'], cut })
})
