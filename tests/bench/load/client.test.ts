import { create, toBinary } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { NodeSchema } from '#gen/envoy/config/core/v3/base_pb.js'
import { typeUrls } from '#mesh/model/resource.ts'
import { parseProxy } from '#mesh/translate/node.ts'
import { createTranslator } from '#mesh/translate/translate.ts'
import { keyAt, serviceAt, viewOf } from '#tests/bench/fleet-view.ts'
import { loadProxy } from '#tests/bench/load/client.ts'
import { type Response, responseReader } from '#tests/bench/load/response.ts'
import { startAdsRelay, workload } from '#tests/support/ads-relay.ts'
import { makeFakeCluster } from '#tests/support/fake-relay.ts'
import { eventually } from '#tests/support/until.ts'

const scale = { services: 5, endpoints: 2, large: 3, remote: 1 }

test.each(['delta', 'sotw'] as const)(
  'a load proxy that speaks %s gets everything, hears of a change, and comes back',
  async (mode) => {
    const pki = await makeFakeCluster('a')
    const translator = createTranslator()
    let view = viewOf(scale, pki.root.pem)
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
    const dial = {
      ...{ host: '127.0.0.1', port: relay.server.port, ca: pki.controlPlane.pem },
      ...{ cert: holder.pem + pki.issuing.pem, key: holder.key.keyPem },
    }
    const read = responseReader()
    const seen: Response[] = []
    const proxy = loadProxy(dial, node, {
      ...{ manners: 'honest', mode },
      onArrival: ({ take }) => {
        const response = take((pieces) => read(mode, pieces))
        if (response) seen.push(response)
      },
      onSent: () => undefined,
      onEnd: () => undefined,
    })
    const namesOf = (type: string) => [
      ...new Set(seen.filter((one) => one.type === type).flatMap(({ names }) => names)),
    ]
    try {
      proxy.open()
      await eventually(20_000, 'the proxy is in sync', () => proxy.inSync())
      const clusters = namesOf(typeUrls.cluster)
      expect(namesOf(typeUrls.endpoint)).toEqual(
        expect.arrayContaining(clusters.filter((name) => name.startsWith('outbound|'))),
      )
      expect(namesOf(typeUrls.route).length).toBeGreaterThan(0)

      seen.length = 0
      const key = keyAt(scale.services)
      const services = new Map(view.own.services).set(key, serviceAt(key))
      view = { ...view, own: { ...view.own, services } }
      relay.server.changed()
      await eventually(
        20_000,
        'the new service and its endpoints',
        () => proxy.inSync() && namesOf(typeUrls.endpoint).length > 0,
      )
      expect(namesOf(typeUrls.endpoint)).toEqual([expect.stringContaining('svc-5.')])

      seen.length = 0
      proxy.drop()
      expect(proxy.inSync()).toBe(false)
      proxy.open()
      expect(proxy.inSync()).toBe(false)
      await eventually(20_000, 'the proxy is in sync again', () => proxy.inSync())
      const again = namesOf(typeUrls.cluster).length
      if (mode === 'delta') expect(again).toBe(0)
      else expect(again).toBeGreaterThan(clusters.length)
    } finally {
      proxy.drop()
      await relay.server.close()
    }
  },
)

const node = Buffer.from(
  toBinary(
    NodeSchema,
    create(NodeSchema, {
      id: 'sidecar~10.9.9.9~web.shop~shop.svc.cluster.local',
      cluster: 'web.shop',
      metadata: {
        ...{ NAMESPACE: 'shop', SERVICE_ACCOUNT: 'web', INTERCEPTION_MODE: 'NONE' },
        ISTHMUS: { application: '127.0.0.2', outbound: '127.0.0.3', tcp: {} },
      },
    }),
  ),
)
