import type { KubeApi } from '#gateway/kube-api.ts'
import { ourLabels, sliceLabels, sliceManager } from '#gateway/status/seen-objects.ts'
import { addressAnnotations } from '#mesh/mcs/address-text.ts'
import type { Change } from '#mesh/mcs/changes.ts'
import type { DerivedSlice, ObjectCondition, Seen, SeenCondition, SeenObjects } from '#mesh/mcs/objects.ts'
import { partsOf } from '#mesh/model/id.ts'

export const fieldManager = 'isthmus-relay'

/** An object of the API server, as messages and Events name it. */
export type ObjectName = {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace?: string
  readonly name: string
  readonly uid?: string
}

/** One request that makes a change. */
export type Write = {
  /** `ServiceImport shop/web` */
  readonly id: string
  readonly object: ObjectName
  readonly method: Parameters<KubeApi['call']>[0]
  readonly path: string
  readonly query: Readonly<Record<string, string | boolean>>
  readonly contentType: string
  readonly body: object
  /** The version of the object that is changed; absent where it is made. */
  readonly over?: string
}

export type WriteFacts = {
  readonly seen: SeenObjects
  /** In which the server has the MCS kinds. */
  readonly mcsVersion: string
  /** Unix ms. */
  readonly now: number
}

/**
 * The request for one change. What the relay made before is applied with the version that was seen, so that whoever changed
 * it meanwhile is looked at first; what is not there yet is applied without force: where somebody made it meanwhile, it is
 * refused. Source: Kubernetes, Server-Side Apply.
 */
export function writeOf(change: Change, facts: WriteFacts): Write {
  const { seen, mcsVersion } = facts
  const mcs = `multicluster.x-k8s.io/${mcsVersion}`
  switch (change.kind) {
    case 'import': {
      const { type, ports, ips, sessionAffinity, parts } = change.spec
      const was = seen.imports.get(change.key)
      return applied(nameOf(mcs, 'ServiceImport', change.key, was), was, {
        metadata: { labels: ourLabels, annotations: addressAnnotations(parts) },
        spec: { type, ips, sessionAffinity, ports: ports.map((port) => ({ ...dense(port), protocol: 'TCP' })) },
      })
    }
    case 'import status': {
      const was = seen.imports.get(change.key)
      const { clusters, conditions } = change.status
      const status = { clusters: clusters.map((cluster) => ({ cluster })) }
      const dated = datedConditions(conditions, was?.status.conditions, was, facts)
      return statusOf(nameOf(mcs, 'ServiceImport', change.key, was), was, { ...status, conditions: dated })
    }
    case 'export status': {
      const was = seen.exports.get(change.key)
      const conditions = datedConditions(change.conditions, was?.conditions, was, facts)
      return statusOf(nameOf(mcs, 'ServiceExport', change.key, was), was, { conditions })
    }
    case 'policy status': {
      const was = seen.policies.get(change.id)
      const conditions = datedConditions(change.conditions, was?.conditions, was, facts)
      return statusOf(nameOf(own, 'GlobalTrafficPolicy', change.id, was), was, { conditions })
    }
    case 'group status': {
      const was = seen.groups.get(change.name)
      const conditions = datedConditions(change.conditions, was?.conditions, was, facts)
      return statusOf(nameOf(own, 'SamenessGroup', change.name, was), was, { conditions })
    }
    case 'slice': {
      const was = seen.slices.get(change.id)
      const name = nameOf('discovery.k8s.io/v1', 'EndpointSlice', change.id, was)
      return applied(name, was, sliceBody(change.slice, { apiVersion: mcs, uid: change.importUid }))
    }
    case 'remove import':
      return removed(nameOf(mcs, 'ServiceImport', change.key, change.was), change.was)
    case 'remove slice':
      return removed(nameOf('discovery.k8s.io/v1', 'EndpointSlice', change.id, change.was), change.was)
  }
}

const own = 'isthmus.dev/v1alpha1'

const resources: Readonly<Record<string, string>> = {
  ServiceImport: 'serviceimports',
  ServiceExport: 'serviceexports',
  EndpointSlice: 'endpointslices',
  GlobalTrafficPolicy: 'globaltrafficpolicies',
  SamenessGroup: 'samenessgroups',
}

/** Source: MCS API (KEP-1645): labels and owner of an imported EndpointSlice. */
function sliceBody(
  { service, cluster, addressType, ports, endpoints }: DerivedSlice,
  owner: { readonly apiVersion: string; readonly uid: string },
): Body {
  const { name } = partsOf(service)
  return {
    metadata: {
      labels: {
        ...ourLabels,
        [sliceLabels.manager]: sliceManager,
        [sliceLabels.service]: name,
        [sliceLabels.cluster]: cluster,
      },
      ownerReferences: [{ ...owner, kind: 'ServiceImport', name, controller: false }],
    },
    addressType,
    ports: ports.map(({ name: port, port: number }) => ({ name: port, port: number, protocol: 'TCP' })),
    endpoints: endpoints.map(({ address, ready, terminating, zone, hostname }) => ({
      addresses: [address],
      conditions: { ready, serving: true, terminating },
      ...dense({ zone, hostname }),
    })),
  }
}

/** Without empty texts: the API server takes none for an optional field. */
const dense = (fields: object): object => Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''))

function nameOf(apiVersion: string, kind: string, id: string, was: { readonly uid: string } | undefined): ObjectName {
  const [name = '', namespace] = id.split('/').toReversed()
  const place = namespace === undefined ? {} : { namespace }
  return { apiVersion, kind, ...place, name, ...(was ? { uid: was.uid } : {}) }
}

const idOf = ({ kind, namespace, name }: ObjectName): string =>
  namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`

const pathOf = ({ apiVersion, kind, namespace, name }: ObjectName): string =>
  `/apis/${apiVersion}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${resources[kind]}/${name}`

type Body = { readonly metadata?: object; readonly [field: string]: unknown }

const apply = 'application/apply-patch+yaml'

function applied(object: ObjectName, was: Seen<object> | undefined, body: Body): Write {
  const { apiVersion, kind, name, namespace } = object
  const metadata = { name, namespace, ...body.metadata, ...(was ? { resourceVersion: was.resourceVersion } : {}) }
  return {
    ...{ id: idOf(object), object, method: 'PATCH', path: pathOf(object), contentType: apply },
    query: { fieldManager, force: was !== undefined },
    body: { apiVersion, kind, ...body, metadata },
    ...(was ? { over: was.resourceVersion } : {}),
  }
}

function statusOf(object: ObjectName, was: Seen<object> | undefined, status: object): Write {
  const { apiVersion, kind, name, namespace } = object
  return {
    ...{ id: `${idOf(object)} status`, object, method: 'PATCH', path: `${pathOf(object)}/status`, contentType: apply },
    query: { fieldManager, force: true },
    body: { apiVersion, kind, metadata: { name, namespace }, status },
    ...(was ? { over: was.resourceVersion } : {}),
  }
}

const removed = (object: ObjectName, was: Seen<object>): Write => ({
  ...{ id: idOf(object), object, method: 'DELETE', path: pathOf(object), contentType: 'application/json', query: {} },
  body: {
    ...{ apiVersion: 'v1', kind: 'DeleteOptions' },
    preconditions: { uid: was.uid, resourceVersion: was.resourceVersion },
  },
  over: was.resourceVersion,
})

/** A condition that stands keeps its time. */
function datedConditions(
  conditions: readonly ObjectCondition[],
  seen: readonly SeenCondition[] = [],
  was: Seen<object> | undefined,
  { now }: WriteFacts,
): readonly object[] {
  return conditions.map((one) => {
    const before = seen.find((other) => other.type === one.type && other.status === one.status)
    const lastTransitionTime = before?.since ?? new Date(now).toISOString().replace(/\.[0-9]{3}Z$/, 'Z')
    return { ...one, lastTransitionTime, ...(was?.generation ? { observedGeneration: was.generation } : {}) }
  })
}
