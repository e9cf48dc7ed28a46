/** One object of the Kubernetes API, as it is applied. */
export type KubeObject = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly [field: string]: unknown
}

export const systemNamespace = 'isthmus-system'
/** Who applies what the command line writes. */
export const fieldManager = 'isthmus'
export const managedByLabel = 'app.kubernetes.io/managed-by'

/** Of everything that we create; `name` is the part it belongs to. */
export const labelsOf = (name: string): Readonly<Record<string, string>> => ({
  ...selectorOf(name),
  [managedByLabel]: 'isthmus',
})

/** What never changes of the labels: Deployments cannot be given another selector. */
export const selectorOf = (name: string): Readonly<Record<string, string>> => ({
  'app.kubernetes.io/name': name,
  'app.kubernetes.io/part-of': 'isthmus',
})

type Place = { readonly apiVersion: string; readonly kind: string; readonly name: string; readonly part?: string }

/** An object in our namespace, labelled. */
export const namespaced = (
  { apiVersion, kind, name, part = name }: Place,
  body: Readonly<Record<string, unknown>> = {},
): KubeObject => ({
  ...{ apiVersion, kind },
  metadata: { name, namespace: systemNamespace, labels: labelsOf(part) },
  ...body,
})

/** An object of the whole cluster, labelled. */
export const clusterWide = (
  { apiVersion, kind, name, part = name }: Place,
  body: Readonly<Record<string, unknown>> = {},
): KubeObject => ({ apiVersion, kind, metadata: { name, labels: labelsOf(part) }, ...body })

/** `Deployment isthmus-system/relay`, `ClusterRole isthmus-relay`. */
export const objectText = ({ kind, metadata }: Pick<KubeObject, 'kind' | 'metadata'>): string =>
  `${kind} ${metadata.namespace === undefined ? '' : `${metadata.namespace}/`}${metadata.name}`
