import { isIP } from 'node:net'
import { clusterHostOf, clusterSetHostOf, hostOf, ownPodHostOf, podHostOf } from '#mesh/model/host.ts'
import { labelFault, partsOf, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import type { ClusterSetAddresses, View } from '#mesh/model/view.ts'

/** What a host means to callers of one namespace: `name` is the full one. */
export type Meant = {
  readonly key: ServiceKey
  readonly name: string
  /** Set where it means one cluster's part. */
  readonly cluster?: string
  /** Set where it means one pod. */
  readonly hostname?: string
}

const everywhere = '.svc.clusterset.local'
const here = '.svc.cluster.local'

/**
 * What a host means, as proxies take it: full names, the short forms of the cluster's own ones, and the addresses of own
 * Services. Gives a sentence where it can be no service of the mesh.
 */
export function meantBy(host: string, namespace: string, view: View): Meant | string {
  const said = host.toLowerCase().replace(/\.$/, '')
  return isIP(said) === 0 ? byName(said, namespace) : ofAddress(said, view)
}

/** The service that a host means; undefined where it is an address, or no name of the mesh. */
export function hostKey(host: string, namespace: string): ServiceKey | undefined {
  const said = host.toLowerCase().replace(/\.$/, '')
  const meant = isIP(said) === 0 ? byName(said, namespace) : ''
  return typeof meant === 'string' ? undefined : meant.key
}

function byName(said: string, namespace: string): Meant | string {
  const host = said
  if (said.endsWith(everywhere)) return ofSet(said.slice(0, -everywhere.length).split('.'), host)
  const isFull = said.endsWith(here)
  const labels = (isFull ? said.slice(0, -here.length) : said.replace(/\.svc$/, '')).split('.')
  const isShort = !isFull && !said.endsWith('.svc')
  if (labels.some((label) => labelFault(label) !== undefined)) return odd(host)
  const [name = '', inNamespace, more] = labels
  if (inNamespace === undefined) return isShort ? whole(serviceKey(namespace, name)) : odd(host)
  if (labels.length === 2) return whole(serviceKey(inNamespace, name))
  if (labels.length !== 3 || more === undefined || isShort) return odd(host)
  const key = serviceKey(more, inNamespace)
  return { key, hostname: name, name: ownPodHostOf(key, name) }
}

const whole = (key: ServiceKey): Meant => ({ key, name: hostOf(key) })

function ofSet(labels: readonly string[], host: string): Meant | string {
  if (labels.some((label) => labelFault(label) !== undefined)) return odd(host)
  const [namespace = '', name = '', cluster, hostname, ...more] = labels.toReversed()
  if (name === '' || more.length > 0) return odd(host)
  const key = serviceKey(namespace, name)
  if (cluster === undefined) return { key, name: clusterSetHostOf(key) }
  if (hostname === undefined) return { key, cluster, name: clusterHostOf(key, cluster) }
  return { key, cluster, hostname, name: podHostOf(key, cluster, hostname) }
}

function ofAddress(address: string, { own, clusterSet = new Map() }: View): Meant | string {
  const found = [...own.services.values()].find(({ clusterIps }) => clusterIps.includes(address))
  const kept = clusterSet
    .entries()
    .find(([, { ip, parts }]) => ip === address || Object.values(parts).includes(address))
  if (!found && kept) return keptFor(address, kept)
  return found ? whole(found.key) : `${address} is the address of no Service of the caller's cluster`
}

function keptFor(address: string, [key, { ip, parts }]: [ServiceKey, ClusterSetAddresses]): Meant {
  if (ip === address) return { key, name: clusterSetHostOf(key) }
  const [part = ''] = Object.entries(parts).find(([, one]) => one === address) ?? []
  const [cluster = '', hostname] = part.split('.').toReversed()
  if (hostname === undefined) return { key, cluster, name: clusterHostOf(key, cluster) }
  return { key, cluster, hostname, name: podHostOf(key, cluster, hostname) }
}

const odd = (host: string): string => `${host.slice(0, 253)} is no name of a service of the mesh`

/** Services of nearly that name: the closest first, at most three. */
export function nearTo(key: ServiceKey, known: Iterable<ServiceKey>): readonly ServiceKey[] {
  const { namespace, name } = partsOf(key)
  return [...new Set(known)]
    .map((other) => {
      const parts = partsOf(other)
      return { other, far: distance(name, parts.name) + (parts.namespace === namespace ? 0 : 1) }
    })
    .filter(({ other, far }) => other !== key && far <= Math.min(2, name.length / 2))
    .toSorted((a, b) => a.far - b.far || (a.other < b.other ? -1 : 1))
    .slice(0, 3)
    .map(({ other }) => other)
}

/** Edits from one text to the other (Levenshtein); names have at most 63 characters. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3
  let last = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const kept = (last[j] ?? 0) + (a[i] === b[j] ? 0 : 1)
      next.push(Math.min(kept, (last[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    last = next
  }
  return last.at(-1) ?? 0
}
