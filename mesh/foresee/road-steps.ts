import { isIP } from 'node:net'
import { aboutCluster, badOf, type Fault, good, nobodyTrusted, type Path, unsure } from '#mesh/foresee/path.ts'
import { addressKey } from '#mesh/model/address.ts'
import type { Step } from '#mesh/model/explanation.ts'
import type { Gateway } from '#mesh/model/gateway.ts'
import type { ClusterName } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** Whether there is a way from the caller's network to the clusters that such calls are meant for. */
export function roadStep(path: Path): Step {
  const { live: first, offers } = path
  if (first.length === 0) return nobodyTrusted('road')
  const faults = first.flatMap((cluster) => (offers.has(cluster) ? [] : (lostRoad(path, cluster) ?? [])))
  const [one, ...more] = faults
  if (one) return badOf('road', [one, ...more])
  const named = first.filter((cluster) => !offers.has(cluster))
  if (named.length > 0)
    return unsure('road', `the gateways of ${someOf(named)} are host names, which the caller's relay resolves`)
  return good('road', someOf(first.map((cluster) => `${cluster}: ${roadText(path, cluster)}`)))
}

function roadText({ offers, seen }: Path, cluster: ClusterName): string {
  if (cluster === seen.view.home.cluster) return 'its own pods'
  const behind = offers.get(cluster)?.behind
  return behind?.kind === 'pods' ? 'the pods, on the same network' : 'its gateways'
}

const nameGateway = (cluster: string): string =>
  `write gateways into the isthmus.yaml of ${cluster}, or label the Service of its east-west gateway topology.istio.io/network`

/** Undefined where it is there for whoever resolves names, which the centre does not. */
function lostRoad({ seen }: Path, cluster: ClusterName): Fault | undefined {
  const at = aboutCluster(cluster)
  const { view, said, relay } = seen
  const heard = (said ?? view.summaries.gateways).get(cluster)?.gateways
  if (heard === undefined)
    return {
      saw: `nothing was heard of a gateway of ${cluster}, which is on another network`,
      fix: nameGateway(cluster),
      at,
    }
  if (heard.length === 0) return { saw: `${cluster} names no gateway`, fix: nameGateway(cluster), at }
  const names = heard.map(({ address }) => address).filter((address) => isIP(address) === 0)
  if (names.length === heard.length && relay === undefined) return undefined
  const conditions = relay?.conditions ?? []
  const told = names.flatMap((name) => conditions.find(({ object }) => object === `gateway ${name}`) ?? [])
  const [first] = told
  if (names.length > 0 && first?.type !== 'GatewayAddressHeld')
    return {
      saw: first?.message.replace(/: look at .*$/, '') ?? `${someOf(names)}, a gateway of ${cluster}, does not resolve`,
      fix: `look at the DNS record of ${names[0]} and at the DNS of ${view.home.cluster}`,
      at: `gateway ${names[0]}`,
    }
  return {
    saw: `${someOf(heard.map(addressKey))} is named by ${cluster} and belongs to another cluster already`,
    fix: 'give each cluster its own gateway address',
    at: `gateway ${heard[0]?.address ?? ''}`,
  }
}

/** Whether the gateways on the way take calls. */
export function gatewayStep(path: Path): Step {
  const { live: first, seen } = path
  if (first.length === 0) return nobodyTrusted('gateway')
  const dialled = first.flatMap((cluster) => {
    const behind = path.offers.get(cluster)?.behind
    return behind?.kind === 'gateways' ? [{ cluster, gateways: behind.gateways }] : []
  })
  if (dialled.length === 0) return good('gateway', 'none is on the way')
  const faults = dialled.flatMap(({ cluster, gateways }) => faultOf(path, cluster, gateways) ?? [])
  const [one, ...more] = faults
  if (one) return badOf('gateway', [one, ...more])
  const all = dialled.map(({ cluster, gateways }) => `${cluster}: ${gatewaysText(path, cluster, gateways)}`)
  if (!seen.relay) return unsure('gateway', `${someOf(all)}; whether they answer the caller's relay knows`)
  return good('gateway', someOf(all))
}

type Standing = 'ready' | 'unknown' | 'down' | 'does not answer' | 'drained'

function standingOf({ seen }: Path, cluster: ClusterName, gateway: Gateway): Standing {
  const { traffic } = seen.view
  if (traffic?.gatewaysDown.get(cluster)?.has(addressKey(gateway))) return 'does not answer'
  if (traffic?.gatewaysDraining.get(cluster)?.has(addressKey(gateway))) return 'drained'
  return gateway.state
}

const gatewaysText = (path: Path, cluster: ClusterName, gateways: readonly Gateway[]): string =>
  someOf(gateways.map((one) => `${addressKey(one)} ${standingOf(path, cluster, one)}`))

function faultOf(path: Path, cluster: ClusterName, gateways: readonly Gateway[]): Fault | undefined {
  const standings = gateways.map((gateway) => standingOf(path, cluster, gateway))
  if (standings.some((one) => one === 'ready' || one === 'unknown' || one === 'drained')) return undefined
  const [first] = gateways
  return {
    saw: `no gateway of ${cluster} takes calls: ${gatewaysText(path, cluster, gateways)}`,
    fix: `start the east-west gateway of ${cluster}: isthmus gateways --cluster ${cluster}`,
    at: `gateway ${first ? addressKey(first) : cluster}`,
  }
}
