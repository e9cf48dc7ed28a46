import type { V1ConfigMap, V1Container, V1EnvVar, V1Pod, V1Secret } from '@kubernetes/client-node'

export type Facts = {
  readonly pod: V1Pod
  readonly podIp: string
  readonly hostIp: string
  /** Cluster IP of the API server. */
  readonly apiServer: string
  readonly configMap: (name: string) => V1ConfigMap | undefined
  readonly secret: (name: string) => V1Secret | undefined
}

/** What is missing for a container to be made; it waits for it. */
export class NotYet extends Error {
  override name = 'NotYet'
}

/** A container's variables, in order, as Kubernetes makes them. Throws `NotYet`. */
export function environmentOf(container: V1Container, facts: Facts): Record<string, string> {
  const env: Record<string, string> = {
    ...{ KUBERNETES_SERVICE_HOST: facts.apiServer, KUBERNETES_SERVICE_PORT: '443' },
  }
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    const { name = '', optional } = configMapRef ?? secretRef ?? {}
    const all = configMapRef ? facts.configMap(name)?.data : decoded(facts.secret(name))
    for (const [key, value] of Object.entries(wanted(all, optional, name) ?? {})) env[`${prefix}${key}`] = value
  }
  for (const one of container.env ?? []) {
    const value = one.valueFrom ? valueFrom(one, facts) : expanded(one.value ?? '', env)
    if (value !== undefined) env[one.name] = value
  }
  return env
}

/** `$(NAME)` of what is set, `$$(NAME)` for the words themselves. Source: Kubernetes API, Container.command. */
export function expanded(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$?\$\(([\w.-]+)\)/g, (whole, name: string) =>
    whole.startsWith('$$') ? whole.slice(1) : (env[name] ?? whole),
  )
}

function valueFrom({ valueFrom: from }: V1EnvVar, facts: Facts): string | undefined {
  if (from?.fieldRef) return fieldOf(from.fieldRef.fieldPath, facts)
  if (from?.resourceFieldRef) return from.resourceFieldRef.resource.endsWith('cpu') ? '1' : String(256 * 2 ** 20)
  if (from?.configMapKeyRef) {
    const { name = '', key, optional } = from.configMapKeyRef
    return wanted(facts.configMap(name)?.data?.[key], optional, `${name}, key ${key}`)
  }
  const { name = '', key = '', optional } = from?.secretKeyRef ?? {}
  return wanted(decoded(facts.secret(name))?.[key], optional, `${name}, key ${key}`)
}

function wanted<T>(value: T | undefined, optional: boolean | undefined, what: string): T | undefined {
  if (value === undefined && !optional) throw new NotYet(`${what} is not there`)
  return value
}

/** Of the downward API. */
export function fieldOf(path: string, { pod, podIp, hostIp }: Facts): string {
  const [, map, key = ''] = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path) ?? []
  if (map === 'labels' || map === 'annotations') return pod.metadata?.[map]?.[key] ?? ''
  if (path === 'metadata.labels' || path === 'metadata.annotations')
    return Object.entries(pod.metadata?.[path === 'metadata.labels' ? 'labels' : 'annotations'] ?? {})
      .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
      .join('\n')
  const fields: Readonly<Record<string, string | undefined>> = {
    'metadata.name': pod.metadata?.name,
    'metadata.namespace': pod.metadata?.namespace,
    'metadata.uid': pod.metadata?.uid,
    'spec.nodeName': pod.spec?.nodeName,
    'spec.serviceAccountName': pod.spec?.serviceAccountName,
    'status.podIP': podIp,
    'status.podIPs': podIp,
    'status.hostIP': hostIp,
  }
  const value = fields[path]
  if (value === undefined) throw new Error(`the downward API has no ${path}`)
  return value
}

/** The data of a Secret, as text. */
function decoded(secret: V1Secret | undefined): Record<string, string> | undefined {
  if (secret === undefined) return undefined
  return Object.fromEntries(
    Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
  )
}
