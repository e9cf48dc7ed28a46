import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { appPort } from './plan.ts'

/** A Pod object as the sandbox's kubelet needs it. */
export type PodObject = {
  readonly namespace: string
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly serviceAccount: string
  /** The first container's image, e.g. `bookinfo-reviews:v3`, and its first port. */
  readonly image: string
  readonly port: number
  /** Its own name below the service that `subdomain` names, as a StatefulSet gives its pods. */
  readonly hostname?: string
  readonly subdomain?: string
}

/** A Service with a selector, as the sandbox's endpoint controller needs it. */
export type ServiceObject = {
  readonly namespace: string
  readonly name: string
  readonly selector: Readonly<Record<string, string>>
  readonly ports: readonly {
    readonly name: string
    readonly port: number
    readonly targetPort: number
    readonly appProtocol?: string
  }[]
}

export type Wanted = { readonly pods: readonly PodObject[]; readonly services: readonly ServiceObject[] }

type Loose = Readonly<Record<string, unknown>>
const loose = (value: unknown): Loose => (typeof value === 'object' && value !== null ? (value as Loose) : {})
const texts = (value: unknown): Record<string, string> =>
  Object.fromEntries(Object.entries(loose(value)).map(([key, one]) => [key, String(one)]))

/** Files that were read before, by path, so that an unchanged directory costs only its listing. */
const seen = new Map<string, { readonly stamp: string; readonly objects: readonly Loose[] }>()

/**
 * The pods and services that a cluster's manifests want. A file that does not parse keeps what it last said, as the
 * relay does: a typing error stops nobody's pods. The relay tells the user about it. Throws where the directory itself
 * cannot be read: that is not an empty one.
 */
export function readWanted(dir: string): Wanted {
  const files = manifestFiles(dir)
  const objects = files.flatMap((path) => objectsOf(path))
  for (const path of seen.keys()) if (path.startsWith(`${dir}/`) && !files.includes(path)) seen.delete(path)
  return {
    pods: objects.filter((object) => object['kind'] === 'Pod').flatMap(podOf),
    services: objects.filter((object) => object['kind'] === 'Service').flatMap(serviceOf),
  }
}

/** The files of a cluster's manifests that people write; those under `live/` are the sandbox's own. */
export function manifestFiles(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.ya?ml$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.startsWith(join(dir, 'live/')))
    .sort()
}

function objectsOf(path: string): readonly Loose[] {
  try {
    const { mtimeMs, size, ino } = statSync(path)
    const stamp = `${mtimeMs} ${size} ${ino}`
    const known = seen.get(path)
    if (known?.stamp === stamp) return known.objects
    const documents = parseAllDocuments(readFileSync(path, 'utf8'))
    if (!Array.isArray(documents) || documents.some((one) => one.errors.length > 0)) return known?.objects ?? []
    const objects = documents.map((one) => loose(one.toJS()))
    seen.set(path, { stamp, objects })
    return objects
  } catch {
    return seen.get(path)?.objects ?? []
  }
}

function podOf(object: Loose): PodObject[] {
  const metadata = loose(object['metadata'])
  const spec = loose(object['spec'])
  const container = loose(Array.isArray(spec['containers']) ? spec['containers'][0] : undefined)
  if (typeof metadata['name'] !== 'string' || typeof container['image'] !== 'string') return []
  return [
    {
      namespace: String(metadata['namespace'] ?? 'default'),
      name: metadata['name'],
      labels: texts(metadata['labels']),
      serviceAccount: String(spec['serviceAccountName'] ?? 'default'),
      image: container['image'],
      port: portOf(container),
      ...(typeof spec['hostname'] === 'string' ? { hostname: spec['hostname'] } : {}),
      ...(typeof spec['subdomain'] === 'string' ? { subdomain: spec['subdomain'] } : {}),
    },
  ]
}

function portOf(container: Loose): number {
  const [first] = Array.isArray(container['ports']) ? container['ports'].map(loose) : []
  const port = Number(first?.['containerPort'])
  return Number.isInteger(port) && port > 0 && port <= 65535 ? port : appPort
}

function serviceOf(object: Loose): ServiceObject[] {
  const metadata = loose(object['metadata'])
  const spec = loose(object['spec'])
  const selector = texts(spec['selector'])
  if (typeof metadata['name'] !== 'string' || Object.keys(selector).length === 0) return []
  const ports = (Array.isArray(spec['ports']) ? spec['ports'] : []).map(loose).map((port) => ({
    name: String(port['name'] ?? ''),
    port: Number(port['port']),
    targetPort: Number(port['targetPort'] ?? port['port']),
    ...(typeof port['appProtocol'] === 'string' ? { appProtocol: port['appProtocol'] } : {}),
  }))
  return [{ namespace: String(metadata['namespace'] ?? 'default'), name: metadata['name'], selector, ports }]
}
