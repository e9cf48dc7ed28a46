import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { stringify } from 'yaml'
import {
  appPort,
  type ClusterPlan,
  gatewayAddress,
  gatewayPort,
  namespace,
  relayAddress,
  relayPort,
  statusPort,
} from './plan.ts'

const apps = ['productpage', 'details', 'reviews', 'ratings'] as const

/**
 * Writes a cluster's directory as a user would have it: settings of the relay and ordinary Kubernetes YAML. Done once;
 * what is there afterwards is the user's to edit and is never written again.
 */
export function seedCluster(cluster: ClusterPlan): void {
  if (existsSync(join(cluster.dir, 'isthmus.yaml'))) return
  const fresh = `${cluster.dir}.new`
  rmSync(fresh, { recursive: true, force: true })
  try {
    for (const [path, text] of filesOf(cluster)) {
      mkdirSync(dirname(join(fresh, path)), { recursive: true })
      writeFileSync(join(fresh, path), text)
    }
    rmSync(cluster.dir, { recursive: true, force: true })
    renameSync(fresh, cluster.dir)
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true })
    throw error
  }
}

function filesOf(cluster: ClusterPlan): [string, string][] {
  const own = new Set(cluster.pods.map(([app]) => app))
  return [
    ['isthmus.yaml', relaySettings(cluster)],
    ['manifests/namespace.yaml', documents(namespaceObject(), peerAuthentication(), ...apps.map(serviceAccount))],
    ...apps
      .filter((app) => own.has(app))
      .flatMap((app): [string, string][] => [
        [`manifests/${app}.yaml`, documents(service(app))],
        [`manifests/exports/${app}.yaml`, documents(serviceExport(app))],
      ]),
    ...cluster.pods.map(([app, version]): [string, string] => [
      `manifests/pods/${app}-${version}.yaml`,
      documents(pod(app, version)),
    ]),
  ]
}

const documents = (...objects: object[]): string => objects.map((object) => stringify(object)).join('---\n')

const relaySettings = (cluster: ClusterPlan): string =>
  stringify({
    cluster: cluster.name,
    region: cluster.region,
    network: cluster.network,
    gateways: [{ address: gatewayAddress(cluster), port: gatewayPort }],
    relay: {
      address: relayAddress(cluster),
      port: relayPort,
      statusAddress: relayAddress(cluster),
      statusPort,
      names: [],
    },
    tokens: { issuer: issuerOf(cluster), jwks: 'jwks.json' },
  })

/** The issuer of the sandbox's projected tokens, one per cluster as on Kubernetes. */
export const issuerOf = (cluster: ClusterPlan): string => `https://kubernetes.${cluster.name}.sandbox`

const meta = (name: string, labels?: Record<string, string>) => ({ name, namespace, ...(labels ? { labels } : {}) })
const namespaceObject = () => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
const serviceAccount = (app: string) => ({
  apiVersion: 'v1',
  kind: 'ServiceAccount',
  metadata: meta(`bookinfo-${app}`),
})

/** The front door stands for the user's DNS and speaks plain HTTP to productpage; everything else stays STRICT. */
const peerAuthentication = () => ({
  apiVersion: 'security.istio.io/v1',
  kind: 'PeerAuthentication',
  metadata: meta('productpage'),
  spec: {
    selector: { matchLabels: { app: 'productpage' } },
    mtls: { mode: 'STRICT' },
    portLevelMtls: { [appPort]: { mode: 'PERMISSIVE' } },
  },
})

const service = (app: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: meta(app, { app, service: app }),
  spec: { selector: { app }, ports: [{ name: 'http', port: appPort, targetPort: appPort }] },
})

const serviceExport = (app: string) => ({
  apiVersion: 'multicluster.x-k8s.io/v1alpha1',
  kind: 'ServiceExport',
  metadata: meta(app),
})

const pod = (app: string, version: string) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: meta(`${app}-${version}`, { app, version, 'security.istio.io/tlsMode': 'istio' }),
  spec: {
    serviceAccountName: `bookinfo-${app}`,
    containers: [{ name: app, image: `bookinfo-${app}:${version}`, ports: [{ containerPort: appPort }] }],
  },
})
