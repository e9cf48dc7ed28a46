import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import type { AdsServer } from '#gateway/relay/server.ts'
import { type AdsMode, openProxy, openRaw, type ProxyOptions, type RawStream } from '#tests/support/ads-client.ts'
import { dialOf, nodeFor, startAdsRelay, workload } from '#tests/support/ads-relay.ts'
import { clusterOf, endpointsOf, listenerOf, routeOf, setOf } from '#tests/support/ads-resources.ts'
import type { Holder } from '#tests/support/authorities.ts'
import { type FakeCluster, makeFakeCluster } from '#tests/support/fake-relay.ts'

type StartArgs = Parameters<typeof startAdsRelay> extends [unknown, ...infer Rest] ? Rest : never

/**
 * For a suite of the ADS server: a cluster's authorities, the identities `shop` (shop/web) and `other` (shop/api), and what
 * opens servers and streams; they are closed after each test.
 */
export function adsRig() {
  const streams: RawStream[] = []
  const servers: AdsServer[] = []
  let parties: { readonly pki: FakeCluster; readonly shop: Holder; readonly other: Holder }

  beforeAll(async () => {
    const pki = await makeFakeCluster('a')
    parties = { pki, shop: await workload(pki, 'shop', 'web'), other: await workload(pki, 'shop', 'api') }
  })
  afterEach(async () => {
    for (const stream of streams.splice(0)) stream.close()
    for (const server of servers.splice(0)) await server.close()
  })
  afterAll(() => expect(servers).toEqual([]))

  const dial = (server: AdsServer, mode: AdsMode, holder: Holder | undefined = parties.shop) =>
    dialOf(parties.pki, server, mode, holder)
  return {
    servers,
    parties: () => parties,
    start: async (...args: StartArgs) => {
      const relay = await startAdsRelay(parties.pki, ...args)
      servers.push(relay.server)
      return relay
    },
    dial,
    proxy: (server: AdsServer, mode: AdsMode, more: Partial<ProxyOptions> & { readonly holder?: Holder } = {}) => {
      const opened = openProxy({ ...dial(server, mode, more.holder), node: nodeFor('web-1'), ...more })
      streams.push(opened)
      return opened
    },
    raw: (server: AdsServer, mode: AdsMode, more: object = {}) => {
      const opened = openRaw({ ...dial(server, mode), ...more })
      streams.push(opened)
      return opened
    },
  }
}

/** Two clusters, one of them behind a listener and its route. */
export const small = () =>
  setOf(
    clusterOf('a'),
    endpointsOf('a', [1]),
    listenerOf('in', 10_000, 'r'),
    routeOf('r', 'a'),
    clusterOf('b'),
    endpointsOf('b', [2]),
  )
/** So many clusters with one endpoint each. */
export const many = (count: number) =>
  setOf(...Array.from({ length: count }, (_, i) => [clusterOf(`c${i}`), endpointsOf(`c${i}`, [i + 1])]).flat())

/** Waits until this holds; throws after ten seconds. */
export async function eventually(holds: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !holds(); await delay(5))
    if (Date.now() > end) throw new Error(`never: ${holds}`)
}
