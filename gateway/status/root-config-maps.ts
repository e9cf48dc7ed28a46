import { z } from 'zod'
import type { KubeApi } from '#gateway/kube-api.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import { Problem } from '#mesh/model/problem.ts'

export type RootConfigMapsParts = {
  readonly api: Pick<KubeApi, 'call'>
  readonly name: string
  /** The control-plane CAs, PEM; empty while nobody knows them. */
  readonly roots: () => string
  /** Where there are proxies, or will be. */
  readonly namespaces: () => ReadonlySet<string>
  /** Whether this replica is the one that writes. */
  readonly leads: () => boolean
  readonly log: { info(facts: object, text: string): void; warn(facts: object, text: string): void }
  readonly upMs?: () => number
}

export type RootConfigMaps = {
  /** Brings what may have changed to where it belongs; one at a time, and once more where it was asked for meanwhile. */
  look(): Promise<void>
  conditions(): readonly Condition[]
}

const key = 'root-cert.pem'
/** Somebody may have changed or deleted one: each is looked at again after so long. */
const againMs = 5 * 60_000
/** After a failure in one namespace. */
const retryMs = 10_000

const configMapSchema = z.object({
  metadata: z.object({ resourceVersion: z.string(), labels: z.record(z.string(), z.string()).nullish() }),
  data: z.record(z.string(), z.string()).nullish(),
})
type Standing = { readonly text: string; readonly at: number; readonly fault?: string; readonly foreign?: true }

const partOf = 'app.kubernetes.io/part-of'

/**
 * Gives each namespace with meshed pods the CA that proxies believe their relay by, where Istio's agents look for it too. One
 * that an istiod keeps is left to it, and a condition says so. What is there for a namespace without meshed pods stays.
 */
export function openRootConfigMaps(parts: RootConfigMapsParts): RootConfigMaps {
  const { api, name, log, upMs = () => performance.now() } = parts
  const standing = new Map<string, Standing>()
  let running: Promise<void> | undefined
  let again = false

  return {
    look: () => {
      again = true
      running ??= run().finally(() => {
        running = undefined
      })
      return running
    },
    conditions: () =>
      [...standing].flatMap(([namespace, { fault, foreign }]): Condition[] => {
        const object = `ConfigMap ${namespace}/${name}`
        if (foreign)
          return [
            {
              ...{ type: 'RootConfigMap', reason: 'OwnedByAnother', object },
              message: `${object} is kept by an istiod: new proxies there believe its CA and not this relay's. Set kubernetes.rootConfigMap to another name, or end that istiod`,
            },
          ]
        return fault === undefined ? [] : [{ type: 'RootConfigMap', reason: 'NotWritten', message: fault, object }]
      }),
  }

  async function run(): Promise<void> {
    while (again) {
      again = false
      const text = parts.roots()
      const wanted = parts.namespaces()
      for (const namespace of standing.keys()) if (!wanted.has(namespace)) standing.delete(namespace)
      if (text === '' || !parts.leads()) continue
      for (const namespace of wanted) if (isDue(namespace, text)) await bring(namespace, text)
    }
  }

  function isDue(namespace: string, text: string): boolean {
    const known = standing.get(namespace)
    if (!known || known.text !== text) return true
    return upMs() - known.at >= (known.fault === undefined ? againMs : retryMs)
  }

  async function bring(namespace: string, text: string): Promise<void> {
    const now = { text, at: upMs() }
    try {
      const foreign = await written(namespace, text)
      standing.set(namespace, foreign ? { ...now, foreign: true } : now)
    } catch (error) {
      // A namespace that is being deleted takes nothing new, and needs nothing.
      const fault = (error as Error).message
      if (standing.get(namespace)?.fault !== fault)
        log.warn({ namespace, err: fault }, 'the root of proxies is not written')
      standing.set(namespace, { ...now, fault })
    }
  }

  /** Gives whether it is somebody else's. */
  async function written(namespace: string, text: string): Promise<boolean> {
    const all = `/api/v1/namespaces/${namespace}/configmaps`
    const found = await load(`${all}/${name}`)
    const labels = { [partOf]: 'isthmus', 'app.kubernetes.io/managed-by': 'isthmus' }
    const body = { apiVersion: 'v1', kind: 'ConfigMap', data: { [key]: text } }
    if (!found) {
      await api.call('POST', all, { body: { ...body, metadata: { name, namespace, labels } } })
      log.info({ namespace }, 'the root of proxies is written')
      return false
    }
    if (found.metadata.labels?.[partOf] !== 'isthmus') return found.data?.[key] !== text
    if (found.data?.[key] === text) return false
    const { resourceVersion } = found.metadata
    await api.call('PUT', `${all}/${name}`, {
      body: { ...body, metadata: { name, namespace, labels, resourceVersion } },
    })
    return false
  }

  async function load(path: string): Promise<z.infer<typeof configMapSchema> | undefined> {
    try {
      return configMapSchema.parse(await api.call('GET', path))
    } catch (error) {
      if (error instanceof Problem && error.kind === 'not-found') return undefined
      throw error
    }
  }
}
