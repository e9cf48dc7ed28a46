import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { V1Container, V1Pod, V1ServiceAccountTokenProjection } from '@kubernetes/client-node'
import type { KubeApi } from '#gateway/kube-api.ts'
import type { Network } from '#tests/support/kubernetes/network.ts'
import type { Facts } from '#tests/support/kubernetes/node/environment.ts'
import { postStatus, statusOf } from '#tests/support/kubernetes/node/pod-status.ts'
import { type Image, type Running, runningOf } from '#tests/support/kubernetes/node/running.ts'
import { volumesOf } from '#tests/support/kubernetes/node/volumes.ts'

export type PodParts = {
  readonly api: KubeApi
  readonly pod: V1Pod
  readonly ip: string
  readonly network: Omit<Network, 'plug'>
  readonly hostIp: string
  readonly apiServer: string
  readonly dir: string
  readonly logDir: string
  readonly imageOf: (name: string) => Image | undefined
  readonly configMap: Facts['configMap']
  readonly secret: Facts['secret']
  /** The pod's own /etc/resolv.conf. */
  readonly resolver: string
  readonly say: (line: string) => void
}

/** A pod that runs here. */
export type Pod = {
  readonly uid: string
  /** Its volumes are written again where something in them has changed. */
  refresh(): void
  /** As deleted with this much grace; resolves when nothing of it runs and the API server has forgotten it. */
  end(graceMs: number): Promise<void>
  /** SIGKILL of everything, in the middle of an end too. */
  kill(): void
}

const isSidecar = ({ restartPolicy }: V1Container): boolean => restartPolicy === 'Always'

export function startPod(parts: PodParts): Pod {
  const { api, pod, ip, hostIp, apiServer, network, dir, logDir } = parts
  const { name = '', namespace = '', uid = '' } = pod.metadata ?? {}
  const { containers = [], initContainers = [], restartPolicy = 'Always', volumes = [] } = pod.spec ?? {}
  const facts: Facts = {
    ...{ pod, podIp: ip, hostIp, apiServer },
    ...{ configMap: parts.configMap, secret: parts.secret },
  }
  const path = `/api/v1/namespaces/${namespace}/pods/${name}`
  const held = volumesOf(volumes, { facts, dir: join(dir, 'volumes'), token: tokensOf(parts) })
  mkdirSync(join(dir, 'volumes'), { recursive: true })
  const startedAt = new Date()
  let ending = false
  let codes: readonly number[] | undefined
  const status = postStatus(api, path, parts.say, () =>
    statusOf({ pod, ip, hostIp, startedAt, inits, mains, isPrepared, codes }),
  )
  let isPrepared = false
  const running = (container: V1Container): Running =>
    runningOf({
      ...{ container, pod, facts, volumes: held, enter: network.enter, changed: status.changed },
      image: parts.imageOf(container.image ?? ''),
      files: {
        '/etc/resolv.conf': parts.resolver,
        '/etc/hostname': `${name}\n`,
        '/etc/hosts': `127.0.0.1 localhost\n${ip} ${name}\n`,
      },
      dir: join(dir, 'containers'),
      log: join(logDir, `${namespace}.${name}.${container.name}.log`),
    })
  const inits = initContainers.map((container) => ({ container, running: running(container) }))
  const mains = containers.map((container) => ({ container, running: running(container) }))
  const kept: Promise<unknown>[] = []

  const whole = live().catch((fault: Error) => parts.say(`${namespace}/${name}: ${fault.message}`))

  async function live(): Promise<void> {
    for (const { container, running: one } of inits) {
      if (ending) return
      if (!isSidecar(container)) {
        const code = await one.keep(restartPolicy === 'Never' ? 'Never' : 'OnFailure')
        if (code === 0) continue
        codes = [code]
        return status.changed()
      }
      kept.push(one.keep('Always'))
      while (!one.isStarted() && !ending) await status.next()
    }
    if (ending) return
    isPrepared = true
    status.changed()
    const ended = await Promise.all(mains.map(({ running: one }) => one.keep(restartPolicy)))
    if (ending) return
    await stopSidecars(performance.now() + graceOf(pod))
    codes = ended
    status.changed()
  }

  /** The last that was started ends first. */
  async function stopSidecars(dueAt: number): Promise<void> {
    for (const { running: one } of inits.toReversed()) await one.stop(Math.max(500, dueAt - performance.now()))
  }

  return {
    uid,
    kill: () => {
      for (const { running: one } of [...mains, ...inits]) one.kill()
    },
    refresh: () => void held.write().catch(() => undefined),
    end: async (graceMs) => {
      const dueAt = performance.now() + graceMs
      ending = true
      status.changed()
      // Hooks run at once, those of sidecars too; these are told to end when the others have. Source: KEP-753.
      for (const { running: one } of inits) void one.prepared(graceMs)
      await Promise.all(mains.map(({ running: one }) => one.stop(graceMs)))
      await stopSidecars(dueAt)
      await Promise.all([whole, ...kept])
      await status.stop()
      await network.close()
      await forget(api, path, uid)
    },
  }
}

export const graceOf = ({ metadata, spec }: V1Pod): number =>
  1000 * (metadata?.deletionGracePeriodSeconds ?? spec?.terminationGracePeriodSeconds ?? 30)

/** Its object goes when its programs have; tried again while the API server is away. */
async function forget(api: KubeApi, path: string, uid: string): Promise<void> {
  for (;;)
    try {
      await api.call('DELETE', path, { body: { gracePeriodSeconds: 0, preconditions: { uid } } })
      return
    } catch (fault) {
      if (['not-found', 'conflict', 'stale'].includes((fault as { kind?: string }).kind ?? '')) return
      await new Promise((next) => setTimeout(next, 200))
    }
}

/** Tokens as they are projected: asked for again when four fifths of their life are over. */
function tokensOf({ api, pod }: PodParts) {
  const { name, namespace, uid } = pod.metadata ?? {}
  const held = new Map<string, { readonly token: string; readonly until: number }>()
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/${pod.spec?.serviceAccountName ?? 'default'}/token`
  return async ({ audience, expirationSeconds = 3600 }: V1ServiceAccountTokenProjection): Promise<string> => {
    const key = `${audience} ${expirationSeconds}`
    const one = held.get(key)
    if (one && one.until > Date.now()) return one.token
    const body = {
      ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
      spec: {
        ...{ expirationSeconds, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid } },
        ...(audience === undefined ? {} : { audiences: [audience] }),
      },
    }
    const { status } = (await api.call('POST', path, { body })) as { readonly status: { readonly token: string } }
    held.set(key, { token: status.token, until: Date.now() + expirationSeconds * 800 })
    return status.token
  }
}
