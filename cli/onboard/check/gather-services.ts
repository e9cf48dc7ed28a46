import type { ExportFact } from '#cli/onboard/check/facts.ts'
import type { ClusterApi, Json } from '#cli/onboard/cluster-api.ts'
import { protocolOf } from '#mesh/model/service.ts'
import { someOf } from '#mesh/model/some-of.ts'

type Placed = {
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly labels?: Readonly<Record<string, string>>
  }
}
type Service = Placed & {
  readonly spec?: {
    readonly type?: string
    readonly ports?: readonly { readonly port: number; readonly name?: string; readonly appProtocol?: string }[]
  }
}
type Slice = Placed & {
  readonly endpoints?: readonly {
    readonly conditions?: { readonly ready?: boolean }
    readonly targetRef?: { readonly kind?: string; readonly name?: string }
  }[]
}
type Export = Placed & {
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[]
  }
}
type Policy = Placed & {
  readonly spec?: {
    readonly mtls?: { readonly mode?: string }
    readonly portLevelMtls?: Readonly<Record<string, { readonly mode?: string }>>
  }
}

const meshed = 'security.istio.io/tlsMode'
const groups = '/apis/multicluster.x-k8s.io'

/** What this cluster's ServiceExports name, and the Services that none of them does. */
export async function readExports(api: ClusterApi) {
  const [exports, services, policies] = await Promise.all([
    listed<Export>(api, `${groups}/v1beta1/serviceexports`, `${groups}/v1alpha1/serviceexports`),
    listed<Service>(api, '/api/v1/services'),
    listed<Policy>(api, '/apis/security.istio.io/v1/peerauthentications'),
  ])
  const byName = new Map(services.map((one) => [keyOf(one), one]))
  const named = new Set(exports.map(keyOf))
  const namespaces = [...new Set(exports.map(({ metadata }) => metadata.namespace))]
  const [slices, pods] = await Promise.all([
    eachOf<Slice>(api, namespaces, (one) => `/apis/discovery.k8s.io/v1/namespaces/${one}/endpointslices`),
    eachOf<Placed>(api, namespaces, (one) => `/api/v1/namespaces/${one}/pods`),
  ])
  const plain = new Set(pods.filter(({ metadata }) => metadata.labels?.[meshed] !== 'istio').map(keyOf))
  return {
    exports: exports.map((one) => exportFrom(one, { service: byName.get(keyOf(one)), slices, plain, policies })),
    unexported: services.map(keyOf).filter((key) => !named.has(key)),
  }
}

const keyOf = ({ metadata }: Placed): string => `${metadata.namespace}/${metadata.name}`

async function listed<T extends Placed>(api: ClusterApi, ...paths: readonly string[]): Promise<readonly T[]> {
  for (const path of paths) {
    const found = await api.list(path)
    if (found.length > 0) return parseObjects<T>(found)
  }
  return []
}

const parseObjects = <T extends Placed>(found: readonly Json[]): readonly T[] =>
  found.filter((one) => typeof (one['metadata'] as { name?: unknown } | undefined)?.name === 'string') as unknown as T[]

async function eachOf<T extends Placed>(
  api: ClusterApi,
  namespaces: readonly string[],
  path: (namespace: string) => string,
): Promise<readonly T[]> {
  const all: T[] = []
  for (const one of namespaces) all.push(...(await listed<T>(api, path(one))))
  return all
}

type Around = {
  readonly service: Service | undefined
  readonly slices: readonly Slice[]
  /** Pods that are not meshed. */
  readonly plain: ReadonlySet<string>
  readonly policies: readonly Policy[]
}

function exportFrom(one: Export, { service, slices, plain, policies }: Around): ExportFact {
  const { name, namespace } = one.metadata
  const endpoints = slices
    .filter(({ metadata }) => metadata.namespace === namespace)
    .filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === name)
    .flatMap((slice) => slice.endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready !== false)
  const behind = endpoints.flatMap(({ targetRef }) =>
    targetRef?.kind === 'Pod' && targetRef.name !== undefined ? [targetRef.name] : [],
  )
  const conditions = one.status?.conditions ?? []
  return {
    ...{ service: keyOf(one), exists: service !== undefined, ready: new Set(behind).size || endpoints.length },
    ports: (service?.spec?.ports ?? []).map((port) => ({
      ...{ port: port.port, name: port.name ?? '', ...protocolOf(port) },
    })),
    unmeshed: [...new Set(behind)].filter((pod) => plain.has(`${namespace}/${pod}`)),
    permissive: isPermissive(namespace, policies),
    faults: conditions
      .filter(({ type, status }) => (type === 'Conflict') === (status === 'True') && status !== 'Unknown')
      .filter(({ type }) => ['Valid', 'Conflict'].includes(type))
      .map(({ type, message = '' }) => `${type}: ${someOf([message.slice(0, 200)])}`),
  }
}

/** Without one of its namespace the root namespace's holds; without any it is STRICT. */
function isPermissive(namespace: string, policies: readonly Policy[]): boolean {
  const modes = (where: string) =>
    policies
      .filter(({ metadata }) => metadata.namespace === where)
      .flatMap(({ spec }) => [spec?.mtls?.mode, ...Object.values(spec?.portLevelMtls ?? {}).map(({ mode }) => mode)])
      .filter((mode) => mode !== undefined && mode !== 'UNSET')
  const own = modes(namespace)
  return (own.length > 0 ? own : modes('istio-system')).includes('PERMISSIVE')
}
