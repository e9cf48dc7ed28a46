import { isIP } from 'node:net'
import type { DerivedSlice, SliceEndpoint } from '#mesh/mcs/objects.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import type { ImportedService, Source } from '#mesh/model/cluster-config.ts'
import { answerFault } from '#mesh/model/gateway-address.ts'
import { partsOf } from '#mesh/model/id.ts'
import type { FlatEndpoint } from '#mesh/model/summary.ts'

/** An EndpointSlice holds at most so many. Source: Kubernetes, EndpointSlice v1. */
const endpointsMax = 1000

/**
 * The EndpointSlices of one service in one other cluster of the same network, by name: one for each family and each set of
 * pod ports, in order. Source: MCS API (KEP-1645), "Using EndpointSlice objects to track endpoints".
 */
export function slicesOf(
  imported: ImportedService,
  { cluster }: Source,
  flat: readonly FlatEndpoint[],
): ReadonlyMap<string, DerivedSlice> {
  const names = new Map(imported.ports.map(({ port, name }) => [port, name]))
  const byAddress = Map.groupBy(
    flat.filter(({ servicePort, address }) => names.has(servicePort) && isHost(address)),
    ({ address }) => address,
  )
  const pods = [...byAddress].toSorted(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, of]) => podOf(of, names))
  const alike = Map.groupBy(pods, ({ group }) => group)
  const slices = [...alike]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([group, members]) =>
      chunks(members, endpointsMax).flatMap((some, at): [string, DerivedSlice][] => {
        const [first] = some
        if (!first) return []
        const { addressType, ports } = first
        const of = { service: imported.key, cluster, addressType, ports }
        return [[sliceName(imported, cluster, `${group} ${at}`), { ...of, endpoints: some.map((pod) => pod.endpoint) }]]
      }),
    )
  return new Map(slices)
}

/** The API server refuses a whole slice for one address that is none. */
const isHost = (address: string): boolean => isIP(address) !== 0 && answerFault(address, false) === undefined

type SlicePod = Pick<DerivedSlice, 'addressType' | 'ports'> & {
  readonly group: string
  readonly endpoint: SliceEndpoint
}

function podOf(of: readonly FlatEndpoint[], names: ReadonlyMap<number, string>): SlicePod[] {
  const [first] = of
  if (!first) return []
  const ports = of
    .map(({ port, servicePort }) => ({ name: names.get(servicePort) ?? '', port }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  const { address, draining, zone, hostname = '' } = first
  const addressType = address.includes(':') ? 'IPv6' : 'IPv4'
  const endpoint = { address, ready: !draining, terminating: draining, zone, hostname }
  return [{ group: JSON.stringify([addressType, ports]), addressType, ports, endpoint }]
}

/** Ends in a digest of what the slice is for, so that it keeps its name while pods come and go. */
function sliceName({ key }: ImportedService, cluster: string, group: string): string {
  const { name } = partsOf(key)
  return `${name}-${cluster}-${sha256Hex(group).slice(0, 8)}`
}

const chunks = <T>(list: readonly T[], size: number): readonly (readonly T[])[] =>
  Array.from({ length: Math.ceil(list.length / size) }, (_, at) => list.slice(at * size, (at + 1) * size))
