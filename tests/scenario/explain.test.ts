import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { newDrainMemo } from '#control/traffic/drain-sight.ts'
import { stepDrains } from '#control/traffic/step-drains.ts'
import type { TypeStatus } from '#gateway/relay/type-status.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { firstFailing, type StepName } from '#mesh/model/explanation.ts'
import {
  type AskedHere,
  type ExplainedMesh,
  openExplainedMesh,
  type RelaySees,
  type Streams,
} from '#tests/support/explained-mesh.ts'

// One mesh in which every service but one cannot be called, each for a cause of its own, and what is said of each.

let mesh: ExplainedMesh
const hourAgo = Date.parse('2026-03-01T11:00:00Z')
const tcp = { ports: [{ name: 'tcp', port: 5432, protocol: 'tcp', declared: true }] }

beforeAll(async () => {
  mesh = await openExplainedMesh(
    {
      paris: { region: 'eu-1', refuses: ['shop/refused'] },
      oslo: {
        region: 'eu-1',
        offers: {
          ...{ 'shop/cart': {}, 'shop/refused': {}, 'shop/policed': {}, 'shop/tiered': {}, 'shop/led': {} },
          ...{ 'shop/denied': {}, 'shop/probed': {}, 'shop/db': { more: tcp } },
          'shop/bare': { more: { serviceAccounts: [] } },
          'shop/secret': { more: { consumers: ['rome'] } },
          ...{ 'shop/narrow': {}, 'shop/asleep': { pods: '0/3' }, 'shop/empty': { pods: '0/0' } },
        },
      },
      rome: {
        region: 'eu-2',
        offers: { 'shop/cart': {}, 'shop/asleep': {}, 'shop/led': {}, 'shop/drained': {}, 'shop/probed': {} },
      },
      nice: { region: 'eu-2', offers: { 'shop/drained': {} } },
      bern: { region: 'eu-3', gateways: [], offers: { 'shop/gateless': {} } },
      kiel: { region: 'eu-3', gateways: [{ address: '10.0.7.2', state: 'down' }], offers: { 'shop/shut': {} } },
      lund: { region: 'eu-3', gateways: [{ address: 'gw.lund.example' }], offers: { 'shop/named': {} } },
      turin: { region: 'eu-3', offers: { 'shop/revoked': {} } },
      genoa: { region: 'eu-3', issuingEnds: hourAgo, offers: { 'shop/ended': {} } },
    },
    {
      services: { 'shop/home': { ports: ['http 9080 http'], ips: ['10.96.0.7'] } },
      pods: {
        'shop/web-1': { ip: '10.9.0.1', account: 'web', behind: {} },
        'shop/bare-1': { ip: '10.9.0.2', account: 'bare', plain: true, behind: {} },
        'shop/home-1': {
          ip: '10.9.0.3',
          account: 'home',
          health: 'not-ready',
          behind: { 'shop/home': { http: 8080 } },
        },
      },
      refused: ['shop/refused'],
    },
  )
  const { centre } = mesh
  const put = async (path: string, body: unknown) => {
    const answer = await centre.admin(
      path.startsWith('/v1/drains') || path.endsWith('revocations') ? 'POST' : 'PUT',
      path,
      body,
    )
    if (answer.status > 299) throw new Error(`${path}: ${JSON.stringify(answer.body)}`)
  }
  const policy = (name: string, tiers: readonly string[]) =>
    put(`/v1/global-traffic-policies/shop/${name}`, {
      services: { names: [name] },
      tiers: tiers.map((cluster) => ({ targets: [{ cluster }] })),
    })
  await put('/v1/service-exports/shop/narrow', { consumers: ['rome'] })
  await mesh.hear()
  await policy('policed', ['nice', 'rome'])
  await policy('tiered', ['nice', 'oslo'])
  await put('/v1/global-traffic-policies/shop/probed', {
    services: { names: ['probed'] },
    probe: { kind: 'http', path: '/healthz' },
  })
  await put('/v1/drains', { kind: 'service', subject: 'oslo/shop/led', overSeconds: 10, graceSeconds: 30 })
  await put('/v1/drains', { kind: 'cluster', subject: 'nice', overSeconds: 10, graceSeconds: 30 })
  await stepDrains(centre.centre, newDrainMemo())
  await put('/v1/revocations', {
    kind: 'workload',
    subject: 'spiffe://oslo.mesh1/ns/shop/sa/denied',
    reason: 'its key was copied',
  })
  await mesh.hear()
  // A revocation is in force before anything is compiled.
  await put('/v1/revocations', { kind: 'cluster', subject: 'turin', reason: 'its relay was stolen' })
  await mesh.relay('paris').take()
})
afterAll(() => mesh.close())

type Row = {
  readonly asked: AskedHere
  readonly sees?: RelaySees
  /** The first step that fails, and who of the two says so. */
  readonly at: StepName
  readonly by: 'centre' | 'relay'
  readonly saw: RegExp
  readonly fix: RegExp
}

/** The config of a moment before it held the service. */
const withoutCart = (real: Streams): Streams => edited(real, 'cfg/paris', (items) => items.delete('import/shop/cart'))
const single = (real: Streams): Streams =>
  edited(real, 'cfg/paris', (items) => {
    const condition = {
      ...{ type: 'PolicyCannotFailOver', reason: 'OneTarget', object: 'service shop/tiered' },
      message: 'of the clusters that offer it here policy shop/tiered names oslo alone, so without it calls fail',
    }
    items.set('conditions', { conditions: [condition] })
  })
const garbled = (real: Streams): Streams =>
  edited(real, 'cfg/paris', (items) => items.set('import/shop/cart', { of: 'a later version' }))
const frozen = (real: Streams): Streams =>
  edited(real, 'adv/mesh1', (items) => items.set('freeze', { by: 'ann', reason: 'a release', at: 1 }))

function edited(real: Streams, name: string, edit: (items: Map<string, Json>) => unknown): Streams {
  const stream = real.get(name)
  if (!stream) throw new Error(`there is no ${name}`)
  const items = new Map(stream.items)
  edit(items)
  return new Map([...real, [name, { ...stream, items }]])
}

const refusedRoute = (): Partial<TypeStatus> => ({
  ...{ state: 'NACK', setAside: [{ name: '9080', version: 'x', owner: 'service shop/cart' }] },
  nack: { detail: 'Only unique values for domains are permitted', names: ['9080'], at: 1 },
})
const plain = { INTERCEPTION_MODE: 'NONE', ISTHMUS: { application: '127.1.1.2', outbound: '127.1.1.3', tcp: {} } }

const cart = { host: 'cart' }
/** As Envoy says it. */
const sanMatcher =
  'TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify SAN matcher:TLS_error_end'
const hasExpired =
  'TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:certificate has expired:TLS_error_end'

const rows: Readonly<Record<string, Row>> = {
  'a name that is no service': {
    ...{ asked: { host: 'www.example.com.' }, at: 'name', by: 'centre' },
    ...{ saw: /www.example.com is no name of a service/, fix: /<service>.<namespace>/ },
  },
  'a name with a slip of the pen': {
    ...{ asked: { host: 'crat.shop' }, at: 'name', by: 'centre' },
    ...{ saw: /nobody knows a service shop\/crat; there is shop\/cart/, fix: /call cart.shop/ },
  },
  'a host outside of the mesh': {
    ...{ asked: { host: 'Example.Com', port: 443 }, at: 'name', by: 'centre' },
    ...{ saw: /nobody knows a service of namespace com/, fix: /hosts outside of the mesh are not followed here/ },
  },
  'an address of nobody': {
    ...{ asked: { host: '192.0.2.7', port: 9080 }, at: 'name', by: 'relay' },
    ...{ saw: /192.0.2.7 is the address of no Service/, fix: /<service>.<namespace>/ },
  },
  'a cluster that is chosen by name and does not offer it': {
    ...{ asked: { host: 'bern.cart.shop.svc.clusterset.local' }, at: 'export', by: 'centre' },
    ...{ saw: /export shop\/cart, and bern does not/, fix: /call cart.shop, or export it in bern/ },
  },
  'a pod that is named, of a service that has none with names': {
    ...{ asked: { host: 'cart-0.oslo.cart.shop.svc.clusterset.local' }, at: 'name', by: 'centre' },
    ...{ saw: /no pod cart-0 of shop\/cart may be called by a name/, fix: /headless/ },
  },
  'a cluster that may not be chosen by name': {
    ...{ asked: { host: 'oslo.cart.shop.svc.clusterset.local' }, at: 'name', by: 'centre' },
    ...{ saw: /not by a name of its own/, fix: /per-cluster-name/ },
  },
  'nobody exports it': {
    ...{ asked: { host: 'nothing-like-it.shop.svc.clusterset.local' }, at: 'export', by: 'centre' },
    ...{
      saw: /no cluster exports shop\/nothing-like-it/,
      fix: /write a ServiceExport nothing-like-it into namespace shop/,
    },
  },
  'no meshed pod was ever behind it': {
    ...{ asked: { host: 'bare.shop' }, at: 'export', by: 'centre' },
    ...{ saw: /oslo exports shop\/bare, and no meshed pod/, fix: /security.istio.io\/tlsMode=istio/ },
  },
  'a port that is not offered': {
    ...{ asked: { host: 'cart', port: 1234 }, at: 'export', by: 'centre' },
    ...{ saw: /port 1234 of shop\/cart is not offered, only 9080/, fix: /call port 9080/ },
  },
  'its exporter lets others use it': {
    ...{ asked: { host: 'secret' }, at: 'consumer', by: 'centre' },
    ...{
      saw: /its exporters keep paris from using it/,
      fix: /add paris to isthmus.dev\/consumers of the ServiceExport shop\/secret in oslo/,
    },
  },
  'the operator narrowed it': {
    ...{ asked: { host: 'narrow' }, at: 'consumer', by: 'centre' },
    ...{
      saw: /the operator keeps paris from using it/,
      fix: /add paris to the consumers of service-exports shop\/narrow/,
    },
  },
  'the own cluster refuses it': {
    ...{ asked: { host: 'refused' }, at: 'consumer', by: 'centre' },
    ...{ saw: /paris refuses to import shop\/refused/, fix: /isthmus.dev\/accept: "false" off/ },
  },
  'a config that the relay has not heard yet': {
    ...{ asked: cart, sees: { streams: withoutCart }, at: 'consumer', by: 'relay' },
    ...{ saw: /no export of it names paris \(config revision \d+\)/, fix: /isthmus exports/ },
  },
  'a policy that names nobody': {
    ...{ asked: { host: 'policed' }, at: 'policy', by: 'centre' },
    ...{ saw: /shop\/policed@1 governs it and names none/, fix: /isthmus get gtp shop\/policed/ },
  },
  'a first tier without anybody': {
    ...{ asked: { host: 'tiered' }, at: 'tier', by: 'centre' },
    ...{
      saw: /nobody in the first tier of shop\/tiered@1 .*calls begin at its tier 2/,
      fix: /export it in a cluster of that tier/,
    },
  },
  'no pod ready in the region': {
    ...{ asked: { host: 'asleep' }, at: 'health', by: 'relay' },
    ...{
      saw: /0 of 3 pods of shop\/asleep are ready in oslo/,
      fix: /isthmus endpoints --service shop\/asleep --cluster oslo/,
    },
  },
  'no pod at all': {
    ...{ asked: { host: 'empty' }, at: 'health', by: 'relay' },
    ...{ saw: /no meshed pod stands behind shop\/empty in oslo/, fix: /start some there/ },
  },
  'pods of the own cluster alone, none ready': {
    ...{ asked: { host: '10.96.0.7', port: 9080 }, at: 'health', by: 'relay' },
    ...{ saw: /0 of 1 pods of shop\/home are ready/, fix: /selector of the Service/ },
  },
  'a cluster that is drained': {
    ...{ asked: { host: 'drained' }, at: 'health', by: 'relay' },
    ...{ saw: /nice is drained and gets 75 % of its share/, fix: /^isthmus undrain cluster nice$/ },
  },
  'a service that is drained from a cluster': {
    ...{ asked: { host: 'led' }, at: 'health', by: 'relay' },
    ...{ saw: /shop\/led is drained from oslo: it gets 75 %/, fix: /^isthmus undrain service oslo\/shop\/led$/ },
  },
  'a cluster that is out by its probes': {
    ...{ asked: cart, sees: { dead: ['oslo'] }, at: 'health', by: 'relay' },
    ...{
      saw: /oslo is out and gets nothing: 1 of its 1 gateways did not answer \(refused\)/,
      fix: /isthmus gateways --cluster oslo/,
    },
  },
  'a service that is out in a cluster by its probe': {
    ...{ asked: { host: 'probed' }, at: 'health', by: 'relay' },
    sees: { failing: { service: 'shop/probed', said: '503', clusters: ['oslo'] } },
    ...{
      saw: /oslo is out for shop\/probed and gets nothing: probe GET \/healthz: 503, 3 of 3 for 6 s/,
      fix: /look at shop\/probed in oslo .*the probe of shop\/probed@1 asks/,
    },
  },
  'a service whose probe fails everywhere': {
    ...{ asked: { host: 'probed' }, at: 'health', by: 'relay' },
    sees: { failing: { service: 'shop/probed', said: '404', clusters: ['oslo', 'rome'] } },
    ...{
      saw: /fails in oslo \(probe GET \/healthz: 404, 5 of 5 .*callers stay because it fails in every cluster/,
      fix: /look at shop\/probed in oslo/,
    },
  },
  'a relay that is cut off': {
    ...{ asked: cart, sees: { dead: ['oslo', 'rome', 'nice', 'kiel', 'turin', 'genoa'] }, at: 'health', by: 'relay' },
    ...{ saw: /cut off, and moves nobody/, fix: /look at the network of paris/ },
  },
  'a cluster that is dead while traffic is frozen': {
    ...{ asked: cart, sees: { dead: ['oslo'], streams: frozen }, at: 'health', by: 'relay' },
    ...{ saw: /callers stay because nothing moves by itself: frozen by ann: a release/, fix: /^isthmus unfreeze$/ },
  },
  'a cluster without a gateway': {
    ...{ asked: { host: 'gateless' }, at: 'road', by: 'relay' },
    ...{ saw: /bern names no gateway/, fix: /isthmus.yaml of bern/ },
  },
  'a gateway whose name does not resolve': {
    ...{ asked: { host: 'named' }, at: 'road', by: 'relay' },
    ...{ saw: /gw.lund.example, a gateway of lund, does not resolve/, fix: /DNS record of gw.lund.example/ },
  },
  'a gateway that is down': {
    ...{ asked: { host: 'shut' }, at: 'gateway', by: 'relay' },
    ...{ saw: /no gateway of kiel takes calls: 10.0.7.2:15443 down/, fix: /start the east-west gateway of kiel/ },
  },
  'a trust domain that was revoked': {
    ...{ asked: { host: 'revoked' }, at: 'identity', by: 'relay' },
    ...{ saw: /nobody trusts turin.mesh1 any more/, fix: /isthmus trust log/ },
  },
  'a workload that is denied': {
    ...{ asked: { host: 'denied' }, at: 'identity', by: 'relay' },
    ...{ saw: /who answers in oslo is denied: spiffe:\/\/oslo.mesh1\/ns\/shop\/sa\/denied/, fix: /isthmus trust undo/ },
  },
  'somebody else who answers': {
    ...{ asked: cart, sees: { refusal: { cause: sanMatcher, service: 'cart' } }, at: 'identity', by: 'relay' },
    ...{
      saw: /10.0.1.2:15443 proved to be somebody else than spiffe:\/\/oslo/,
      fix: /service account of the pods behind shop\/cart/,
    },
  },
  'a gateway that answers as somebody else': {
    ...{ asked: cart, sees: { wrong: { cluster: 'oslo', detail: 'it is of rome' } }, at: 'identity', by: 'relay' },
    ...{ saw: /not as one of its gateways: it is of rome/, fix: /that gateway's certificate/ },
  },
  'an issuing CA of the other end that ended': {
    ...{ asked: { host: 'ended' }, at: 'certificate', by: 'centre' },
    ...{ saw: /the issuing CA of genoa ended at 2026-03-01T11:00:00/, fix: /relay of genoa/ },
  },
  'an issuing CA of the own cluster that ended': {
    ...{ asked: cart, sees: { issuingEnds: hourAgo }, at: 'certificate', by: 'relay' },
    ...{ saw: /the issuing CA of paris ended/, fix: /relay of paris/ },
  },
  'a certificate that is over': {
    ...{ asked: cart, sees: { refusal: { cause: hasExpired, service: 'cart' } }, at: 'certificate', by: 'relay' },
    ...{ saw: /handshake with 10.0.1.2:15443 was refused.*expired/, fix: /isthmus trust verify 10.0.1.2:15443/ },
  },
  'a pod that is not there': {
    ...{ asked: { ...cart, pod: 'shop/nobody-1' }, at: 'proxy', by: 'relay' },
    ...{ saw: /paris has no pod shop\/nobody-1/, fix: /isthmus proxies --cluster paris/ },
  },
  'a pod without a proxy': {
    ...{ asked: { ...cart, pod: 'shop/bare-1' }, at: 'proxy', by: 'relay' },
    ...{ saw: /shop\/bare-1 has no proxy/, fix: /security.istio.io\/tlsMode=istio/ },
  },
  'a proxy that is not connected': {
    ...{ asked: cart, sees: { connected: false }, at: 'proxy', by: 'relay' },
    ...{ saw: /is not connected to its relay/, fix: /log of its proxy container/ },
  },
  'a proxy that refused config': {
    ...{ asked: cart, sees: { types: { route: refusedRoute() } }, at: 'proxy', by: 'relay' },
    ...{ saw: /it refused route 9080: Only unique values for domains/, fix: /isthmus proxies --cluster paris/ },
  },
  'a stream without an address of its own': {
    ...{ asked: { host: 'db' }, at: 'proxy', by: 'relay' },
    ...{ saw: /no listener for db.shop.svc.cluster.local:5432/, fix: /create a Service shop\/db with port 5432/ },
  },
  'a stream for which the proxy names no address': {
    ...{ asked: { host: 'db' }, sees: { metadata: plain }, at: 'proxy', by: 'relay' },
    ...{ saw: /no listener for db.shop.svc.cluster.local:5432/, fix: /--tcp db.shop.svc.cluster.local:5432=<ip>/ },
  },
  'a proxy that does not take the newest': {
    ...{ asked: cart, sees: { types: { endpoint: { state: 'STALE', since: 1 } } }, at: 'proxy', by: 'relay' },
    ...{ saw: /old revision: it has not taken the newest endpoint/, fix: /restart it/ },
  },
  'a config that the relay does not understand': {
    ...{ asked: cart, sees: { streams: garbled }, at: 'proxy', by: 'relay' },
    ...{ saw: /newest config from the centre is not understood here/, fix: /upgrade the older/ },
  },
}

describe('of each cause the step that fails first is named, with what mends it', () => {
  test.each(Object.entries(rows))('%s', async (_, { asked, sees, at, by, saw, fix }) => {
    const { both } = await mesh.explain(asked, sees)
    const first = both.find(({ ok }) => ok === false)
    expect(both).toContainEqual(expect.objectContaining({ step: at, ok: false }))
    expect([first?.step, first?.by]).toEqual([at, by])
    expect(first?.saw).toMatch(saw)
    expect(first?.fix).toMatch(fix)
    expect(first?.at).toBeTruthy()
  })
})

test('a policy that cannot fail over by now is said to be one, before anything fails', async () => {
  const { both } = await mesh.explain({ host: 'tiered' }, { streams: single })
  expect(both.find(({ step }) => step === 'policy')).toMatchObject({
    ok: true,
    saw: expect.stringContaining('shop/tiered@1 governs it; of the clusters that offer it here'),
  })
})

test('what is in order is said to be so, and what nobody knows is not', async () => {
  const { both, centre, relay } = await mesh.explain({ host: 'cart.shop.svc.cluster.local.', port: 9080 })
  expect(both.map(({ step, ok }) => [step, ok])).toEqual(both.map(({ step }) => [step, true]))
  expect(both).toHaveLength(11)
  expect(relay.lands).toEqual([{ cluster: 'oslo', share: 1 }])
  const unknown = (steps: typeof centre.steps) => steps.filter(({ ok }) => ok === 'unknown').map(({ step }) => step)
  expect([unknown(centre.steps), unknown(relay.steps)]).toEqual([['gateway', 'proxy'], ['certificate']])
})

test('the centre says by itself whom an exporter and an operator let in', async () => {
  const secret = firstFailing((await mesh.explain({ host: 'secret' })).centre.steps)
  expect(secret?.fix).toBe('add paris to isthmus.dev/consumers of the ServiceExport shop/secret in oslo')
  const narrow = firstFailing((await mesh.explain({ host: 'narrow' })).centre.steps)
  expect(narrow?.fix).toContain('add paris to the consumers of service-exports shop/narrow')
})

test('where a relay leads calls otherwise than the centre thinks, its word alone counts from there on', async () => {
  const { both, centre, relay } = await mesh.explain({ host: 'cart' }, { streams: withoutCart })
  expect([centre.via, relay.via]).toEqual([['oslo'], []])
  expect(both.find(({ step }) => step === 'consumer')).toMatchObject({ ok: false, by: 'relay', against: { ok: true } })
})

test('how calls ended is told where it is measured, and at the centre for a minute, with what the relay told of others', async () => {
  const asked = { host: 'cart' }
  const before = await mesh.explain(asked)
  expect([before.centre.answers, before.relay.answers]).toEqual([undefined, undefined])
  const { relay } = await mesh.explain(asked, { calls: { ok: 7, errors: 3, service: 'shop/cart' } })
  expect(relay.answers).toEqual({ calls: 10, errors: 3, forMs: 10_000 })
  const { centre } = mesh
  const { relay: paris } = mesh.relay('paris')
  const body = {
    ...{ epoch: 'a'.repeat(16), seq: 1, at: centre.clock.now, windowMs: 5000, adv: null, cfg: null },
    ...{ proxies: { measured: 1, notMeasured: 0 }, gateways: [], latencies: [], shares: [], below: [], acked: [] },
    rows: [{ service: 'shop/cart', callee: 'oslo', issued: 4, ok: 1, errors: 3, active: 0 }],
    health: [{ cluster: 'oslo', phase: 'out', percent: 0 }],
  }
  const taken = await centre.call('PUT', `/v1/clusters/${paris.id}/load`, { bearer: paris.bearer, body })
  expect([taken.status, taken.body]).toMatchObject([200, {}])
  const told = (await mesh.explain(asked)).centre
  expect(told.answers).toEqual({ calls: 4, errors: 3, forMs: 5000 })
  expect(firstFailing(told.steps)).toMatchObject({ step: 'health', saw: expect.stringContaining('oslo is out') })
  expect(told.lands).toEqual([{ cluster: 'rome', share: 1 }])
  centre.clock.now += 61_000
  const later = (await mesh.explain(asked)).centre
  expect([later.answers, firstFailing(later.steps)]).toEqual([undefined, undefined])
})
