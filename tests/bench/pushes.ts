import { typeUrls } from '#mesh/model/resource.ts'
import type { View } from '#mesh/model/view.ts'
import { parseProxy } from '#mesh/translate/node.ts'
import { createTranslator } from '#mesh/translate/translate.ts'
import { keyAt, podAt, type Scale, serviceAt, viewOf } from '#tests/bench/fleet-view.ts'
import { openProxy, type ProxyMemory, parseAnswer, type ScriptedProxy } from '#tests/support/ads-client.ts'
import { dialOf, startAdsRelay, workload } from '#tests/support/ads-relay.ts'
import { makeFakeCluster } from '#tests/support/fake-relay.ts'

/** What one proxy was sent for one change. */
export type Push = {
  readonly resources: number
  readonly removed: number
  readonly bytes: number
  readonly names: readonly string[]
}
export type Pushes = Readonly<Record<string, Push>>

const quietMs = 150

/**
 * The relay's translation and its ADS server, with one delta client that behaves as a sidecar's Envoy: what travels to it
 * for one change of each kind. Counts and bytes only: no time is measured here.
 */
export async function measurePushes(scale: Scale): Promise<Pushes> {
  const pki = await makeFakeCluster('a')
  const translator = createTranslator()
  let view: View = viewOf(scale, pki.root.pem)
  const relay = await startAdsRelay(
    pki,
    undefined,
    {},
    {
      resourcesFor: (connected) => {
        const serve = translator.serving(parseProxy(connected, connected.identity))
        return () => serve(view)
      },
    },
  )
  const holder = await workload(pki, 'shop', 'web')
  const dial = dialOf(pki, relay.server, 'delta', holder)
  const open = (memory?: ProxyMemory) => openProxy({ ...dial, node, ...(memory ? { memory } : {}) })
  const results: Record<string, Push> = {}
  let proxy = open()
  try {
    results['first connection'] = await received(proxy, async () => proxy.ready)
    const change = async (name: string, next: View) => {
      results[name] = await received(proxy, async () => {
        view = next
        relay.server.changed()
      })
    }
    await change('nothing', { ...view })
    await change('one endpoint added', withEndpoint(view, scale))
    await change('one weight changed', withWeight(view))
    await change('one remote count changed', withRemoteCount(view))
    await change('one service added', withService(view, scale))
    await change('one service removed', withoutService(view, scale))
    proxy.close()
    await proxy.ended
    proxy = open(proxy.memory)
    results['reconnect, nothing changed'] = await received(proxy, async () => undefined)
    return results
  } finally {
    proxy.close()
    await relay.server.close()
  }
}

const node = {
  id: 'sidecar~10.9.9.9~web.shop~shop.svc.cluster.local',
  cluster: 'web.shop',
  metadata: {
    NAMESPACE: 'shop',
    SERVICE_ACCOUNT: 'web',
    INTERCEPTION_MODE: 'NONE',
    ISTHMUS: { application: '127.0.0.2', outbound: '127.0.0.3', tcp: {} },
  },
}

/** Everything that arrives from `cause` until nothing came for a while. */
async function received(proxy: ScriptedProxy, cause: () => Promise<unknown>): Promise<Push> {
  const sum = { resources: 0, removed: 0, bytes: 0 }
  const names: string[] = []
  let last = Date.now()
  const listen = (data: Buffer) => {
    const answer = parseAnswer('delta', data)
    sum.resources += answer.resources.length
    sum.removed += answer.removed.length
    sum.bytes += data.length
    names.push(
      ...answer.resources.map((one) => `${shortOf(answer.type)} ${one.name}`),
      ...answer.removed.map((one) => `${shortOf(answer.type)} -${one}`),
    )
    last = Date.now()
  }
  proxy.call.on('data', listen)
  await cause()
  last = Date.now()
  while (Date.now() - last < quietMs) await new Promise((resolve) => setTimeout(resolve, 10))
  proxy.call.off('data', listen)
  return { ...sum, names: names.length > 8 ? [...names.slice(0, 8), `… ${names.length - 8} more`] : names }
}

const shortOf = (type: string) => Object.entries(typeUrls).find(([, url]) => url === type)?.[0] ?? type

const withEndpoint = (view: View, scale: Scale): View => ({
  ...view,
  own: {
    ...view.own,
    endpoints: new Map(view.own.endpoints).set(keyAt(1), [
      ...(view.own.endpoints.get(keyAt(1)) ?? []),
      podAt(1, scale.endpoints),
    ]),
  },
})

function withWeight(view: View): View {
  const service = view.config?.imports.get(keyAt(2))
  if (!view.config || !service) throw new Error('the bench has no third service')
  const [own, rest] = service.tiers
  if (!own || !rest) throw new Error('the bench has no second tier')
  const tiers = [own, { members: rest.members.map(({ cluster }, n) => ({ cluster, weight: n === 0 ? 70 : 30 })) }]
  return {
    ...view,
    config: { ...view.config, imports: new Map(view.config.imports).set(keyAt(2), { ...service, tiers }) },
  }
}

function withRemoteCount(view: View): View {
  const of = new Map(view.summaries.services.get('r0'))
  of.set(keyAt(3), { counts: [{ port: 8080, region: 'r2', zone: 'z', ready: 9, total: 10 }] })
  return { ...view, summaries: { ...view.summaries, services: new Map(view.summaries.services).set('r0', of) } }
}

function withService(view: View, scale: Scale): View {
  const key = keyAt(scale.services)
  return {
    ...view,
    own: {
      ...view.own,
      services: new Map(view.own.services).set(key, serviceAt(key)),
      endpoints: new Map(view.own.endpoints).set(key, [podAt(scale.services, 0)]),
    },
  }
}

function withoutService(view: View, scale: Scale): View {
  const key = keyAt(scale.services)
  const services = new Map(view.own.services)
  const endpoints = new Map(view.own.endpoints)
  services.delete(key)
  endpoints.delete(key)
  return { ...view, own: { ...view.own, services, endpoints } }
}
