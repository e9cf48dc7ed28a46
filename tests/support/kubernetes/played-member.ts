import { setTimeout as pause } from 'node:timers/promises'
import { stepDrains } from '#control/traffic/step-drains.ts'
import { parseJoinToken } from '#mesh/wire/join-token.ts'
import { type TestCentre, TestRelay } from '#tests/support/centre.ts'
import type { KubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { facts } from '#tests/support/stores.ts'

export type PlayedMember = {
  readonly cluster: Pick<KubeCluster, 'api'>
  readonly centre: TestCentre
  /** In the mesh. */
  readonly name: string
  readonly place: { readonly network: string; readonly region: string }
  /** How far the centre's clock goes between two looks. */
  readonly lookMs: () => number
}

/** Of the gateway, as the played relay reports it. */
export const playedGateway = { address: '172.20.1.9', port: 15443, state: 'ready' } as const

const system = '/api/v1/namespaces/isthmus-system'
type Items = { readonly items: readonly { readonly metadata: { readonly name: string } }[] }

/**
 * What would run in the pods of a member, and a kubelet for it, played until it is stopped: the relay takes the token that
 * lies in the cluster, joins and reports a gateway; pods are ready from then on.
 */
export function playMember({ cluster, centre, name, place, lookMs }: PlayedMember): () => Promise<void> {
  let isOver = false
  let relay: TestRelay | undefined
  const memo = new Map()
  const done = (async () => {
    while (!isOver) {
      await once().catch(() => undefined)
      centre.clock.now += lookMs()
      await pause(150)
    }
  })()
  return async () => {
    isOver = true
    await done
  }

  /** Nothing where an earlier look has redeemed it. */
  async function redeemed(token: string): Promise<void> {
    const one = new TestRelay(centre, name)
    const joined = await one.redeem(parseJoinToken(Buffer.from(token, 'base64').toString('utf8')).token, place)
    if (joined.status !== 200) return
    await one.authenticate()
    relay = one
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'relay' } }
    const query = { fieldManager: 'isthmus-relay' }
    await cluster.api.call('POST', `${system}/secrets`, { body: secret, query }).catch(() => undefined)
    const gateways = { gateways: [playedGateway] }
    await one.sync({ cluster: { ...(facts(name) as object), ...place }, gateways })
  }

  async function once(): Promise<void> {
    const token = await cluster.api.call('GET', `${system}/secrets/relay-join`).catch(() => undefined)
    if (token) await redeemed((token as { readonly data: { readonly token: string } }).data.token)
    await relay?.load({})
    await stepDrains(centre.centre, memo)
    const { items } = (await cluster.api.call('GET', `${system}/pods`)) as Items
    for (const { metadata } of items)
      if (relay)
        await cluster.api.call('PATCH', `${system}/pods/${metadata.name}/status`, {
          body: { status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } },
          contentType: 'application/merge-patch+json',
        })
  }
}
