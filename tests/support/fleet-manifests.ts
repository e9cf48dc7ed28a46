import { stringify } from 'yaml'
import type { PodObject, ServiceObject } from '#infra/local/manifests.ts'
import { appPorts, type PortName } from '#tests/support/protocols.ts'

/** One pod of a fleet: which app it is, and which of the application's ports its Service offers. */
export type PodSpec = {
  readonly app: string
  /** The app's name where absent. */
  readonly serviceAccount?: string
  readonly ports: readonly PortName[]
  readonly labels?: Readonly<Record<string, string>>
}

export const namespace = 'shop'
export const hostOfApp = (app: string): string => `${app}.${namespace}.svc.cluster.local`

export const podObjectOf = (name: string, { app, serviceAccount = app, labels }: PodSpec): PodObject => ({
  ...{ namespace, name, serviceAccount, image: `${app}:v1`, port: appPorts.http },
  labels: { app, 'security.istio.io/tlsMode': 'istio', ...labels },
})

/** A Service in front of the pods of one app; the app's name where it has none of its own. */
export const serviceObjectOf = (app: string, ports: readonly PortName[], name = app): ServiceObject => ({
  ...{ namespace, name, selector: { app } },
  ports: ports.map((name) => ({ name, port: appPorts[name], targetPort: appPorts[name] })),
})

export const podYaml = ({ name, labels, serviceAccount, image }: PodObject): string =>
  stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, labels },
    spec: { serviceAccountName: serviceAccount, containers: [{ name: 'app', image }] },
  })

export const serviceYaml = ({ name, selector, ports }: ServiceObject): string =>
  stringify({ apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec: { selector, ports } })

/** Without `consumers` the export is for every member. */
export const exportYaml = (app: string, consumers?: string): string =>
  stringify({
    apiVersion: 'multicluster.x-k8s.io/v1alpha1',
    kind: 'ServiceExport',
    metadata: {
      ...{ name: app, namespace },
      ...(consumers === undefined ? {} : { annotations: { 'isthmus.dev/consumers': consumers } }),
    },
  })
