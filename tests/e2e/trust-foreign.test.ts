import { randomInt } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Running, startEnvoy } from '#mesh/translate/testdata/real-envoy.ts'
import { toPem } from '#mesh/trust/pem.ts'
import type { Holder } from '#tests/support/authorities.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { sniOfApp } from '#tests/support/fleet-cluster.ts'
import { foreignLeaf, foreignRoot, spiffeText } from '#tests/support/foreign-mesh.ts'
import type { Pair } from '#tests/support/impostors.ts'
import { envoyPath } from '#tests/support/parts.ts'
import { dialTls, httpCall, openTls, requestText } from '#tests/support/protocol-client.ts'
import { parseSaid } from '#tests/support/protocols.ts'
import { eventually } from '#tests/support/until.ts'

// Another mesh calls a service of ours through our gateway: an Envoy of its own, with a certificate of its own root. It is
// let in within seconds of `trust federate`, goes on while its root is rotated, and is out at once with `trust unfederate`.

const fleet = useFleet({
  paris: {
    pods: {
      'heron-1': { app: 'heron', ports: ['http', 'tcp'] },
      'robin-1': { app: 'robin', ports: ['http'] },
    },
    exports: { heron: '*, spiffe://partner.example', robin: '*' },
  },
})
const paris = () => fleet().cluster('paris')
const asPartner = 'spiffe://partner.example/ns/shop/sa/web'
const path = '/v1/foreign-domains/partner.example'
const dir = mkdtempSync(join(tmpdir(), 'isthmus-foreign-'))
const net = `127.${randomInt(50, 59)}.${randomInt(1, 250)}`
const out = `${net}.3`
let [oldRoot, newRoot] = [] as unknown as [Holder, Holder]
let [oldLeaf, newLeaf] = [] as unknown as [Pair, Pair]
let caller: Running

/** What the other mesh is given of ours: the roots of the cluster's trust domain. */
async function ourRoots(): Promise<string> {
  const said = await fleet().centre.call('GET', `/v1/spiffe-bundles/${paris().trustDomain}`)
  const { keys } = said as { readonly keys: readonly { readonly x5c: readonly string[] }[] }
  return keys.map(({ x5c: [der = ''] }) => toPem(Buffer.from(der, 'base64'))).join('')
}

beforeAll(async () => {
  ;[oldRoot, newRoot] = await Promise.all([foreignRoot('partner 1'), foreignRoot('partner 2')])
  const leafOf = (by: Holder) => foreignLeaf(by, [{ uri: asPartner }])
  ;[oldLeaf, newLeaf] = await Promise.all([leafOf(oldRoot), leafOf(newRoot)])
  const text = {
    ...{ cluster: 'partner', region: 'r1' },
    config: {
      members: ['partner', 'paris'],
      roots: [await ourRoots()],
      imports: {
        'shop/heron': { ports: ['http 8080 http'], sources: ['paris net-paris r1 heron'], tiers: [{ paris: 1 }] },
      },
    },
    summaries: { paris: { gateways: [`${paris().gatewayAddress}:15443`] } },
    proxy: {
      ...{ id: `sidecar~${net}.1~web-1.shop~shop.svc.cluster.local`, account: 'web' },
      metadata: { INTERCEPTION_MODE: 'NONE', ISTHMUS: { application: `${net}.2`, outbound: out } },
    },
  }
  caller = await startEnvoy(text, {
    ...{ envoy: await envoyPath(), dir, name: 'partner', ready: `${out}:8080` },
    leaf: { chain: oldLeaf.cert, key: oldLeaf.key },
  })
})
afterAll(async () => {
  await caller?.stop()
  rmSync(dir, { recursive: true, force: true })
})

const federate = (sequence: number, ...roots: readonly Holder[]) =>
  fleet().centre.call('PUT', path, { bundle: spiffeText(sequence, ...roots) })
const called = () => httpCall({ address: out, port: 8080, host: 'heron.shop' })
const to = (pair: Pair, app = 'heron', port: 'http' | 'tcp' = 'http') => ({
  ...{ ...pair, host: paris().gatewayAddress, port: 15443, servername: sniOfApp(app, port) },
})
const dialled = async (pair: Pair, app?: string): Promise<string> => {
  const { received } = await dialTls(to(pair, app), requestText())
  return /^HTTP\/1\.1 (\d+)/.exec(received)?.[1] ?? 'refused'
}
/** Every Envoy of the cluster has the bundle that was said last. */
const taken = () =>
  eventually(20_000, 'every proxy has taken the bundle', async () => {
    const { bundle, clusters } = (await fleet().centre.call('GET', '/v1/trust')) as {
      readonly bundle: { readonly seq: number }
      readonly clusters: readonly { readonly bundle: { seq: number; acked: number; proxies: number } | null }[]
    }
    return clusters.every(({ bundle: held }) => held?.seq === bundle.seq && held.acked === held.proxies)
  })

test('before it is brought in it is nobody, though the export names it', async () => {
  expect([await dialled(oldLeaf), (await called()).status]).toEqual(['refused', 503])
})

test('brought in, its Envoy is answered within seconds, as who it is, and by nobody who does not name it', async () => {
  await federate(1, oldRoot)
  const began = performance.now()
  const answer = await eventually(10_000, 'the other mesh is answered', async () => {
    const said = await called()
    return said.status === 200 ? said : undefined
  })
  expect(performance.now() - began).toBeLessThan(10_000)
  expect(parseSaid(answer.body).caller).toContain(`URI=${asPartner}`)
  expect(await dialled(oldLeaf)).toBe('200')
  expect(await dialled(oldLeaf, 'robin')).toBe('refused')
  const liar = await foreignLeaf(oldRoot, [{ uri: `spiffe://${paris().trustDomain}/ns/shop/sa/robin` }])
  expect(await dialled(liar)).toBe('refused')
  expect(await dialled(newLeaf)).toBe('refused')
})

test('its root is rotated, the new one beside the old: no handshake fails', async () => {
  let leaf = oldLeaf
  let isOver = false
  const seen = new Map<string, number>()
  const load = Array.from({ length: 2 }, async () => {
    while (!isOver) {
      const said = await dialled(leaf)
      seen.set(said, (seen.get(said) ?? 0) + 1)
      await pause(5)
    }
  })
  await federate(2, oldRoot, newRoot)
  await taken()
  expect(await dialled(newLeaf)).toBe('200')
  leaf = newLeaf
  await pause(300)
  await federate(3, newRoot)
  await taken()
  await pause(300)
  isOver = true
  await Promise.all(load)
  expect([...seen.keys()]).toEqual(['200'])
  expect(seen.get('200')).toBeGreaterThan(20)
  expect(await dialled(oldLeaf)).toBe('refused')
})

test('taken out, nobody of it is let in, and what was open is told to end', async () => {
  await federate(4, oldRoot, newRoot)
  await taken()
  expect((await called()).status).toBe(200)
  const old = await openTls(to(newLeaf, 'heron', 'tcp'))
  expect(await old.echoes('before')).toBe(true)
  const began = performance.now()
  const { cut } = (await fleet().centre.call('DELETE', `${path}?reason=over`)) as { readonly cut: number }
  await eventually(5000, 'new handshakes are refused', async () => (await dialled(newLeaf)) === 'refused')
  expect(performance.now() - began).toBeLessThan(5000)
  // On the connection that its Envoy has kept: each request is refused, whatever the handshake was.
  await eventually(5000, 'requests on old connections are refused', async () => (await called()).status !== 200)
  expect([403, 503]).toContain((await called()).status)
  const told = await eventually(10_000, 'the relay tells how long it took', async () => {
    const one = (await fleet().centre.call('GET', `/v1/revocations/${cut}`)) as { readonly newMsMax: number | null }
    return one.newMsMax === null ? undefined : one.newMsMax
  })
  expect(told).toBeLessThan(5000)
  old.close()
})
