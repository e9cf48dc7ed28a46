import type { V1Container, V1Pod, V1PodCondition, V1PodStatus } from '@kubernetes/client-node'
import type { KubeApi } from '#gateway/kube-api.ts'
import type { Running } from '#tests/support/kubernetes/node/running.ts'

type One = { readonly container: V1Container; readonly running: Running }

export type PodFacts = {
  readonly pod: V1Pod
  readonly ip: string
  readonly hostIp: string
  readonly startedAt: Date
  readonly inits: readonly One[]
  readonly mains: readonly One[]
  /** All init containers have done their work, or run beside it. */
  readonly isPrepared: boolean
  /** How the containers ended, of a pod that is over. */
  readonly codes: readonly number[] | undefined
}

/** What a kubelet says of a pod. */
export function statusOf({ ip, hostIp, startedAt, inits, mains, isPrepared, codes }: PodFacts): V1PodStatus {
  const sidecars = inits.filter(({ container }) => container.restartPolicy === 'Always')
  const isReady = isPrepared && codes === undefined && [...mains, ...sidecars].every(({ running }) => running.isReady())
  const phase = codes
    ? codes.every((code) => code === 0)
      ? 'Succeeded'
      : 'Failed'
    : isPrepared
      ? 'Running'
      : 'Pending'
  const condition = (type: string, holds: boolean): V1PodCondition => ({ type, status: holds ? 'True' : 'False' })
  return {
    ...{ phase, hostIP: hostIp, hostIPs: [{ ip: hostIp }], podIP: ip, podIPs: [{ ip }], startTime: startedAt },
    conditions: [
      condition('PodScheduled', true),
      condition('PodReadyToStartContainers', true),
      condition('Initialized', isPrepared),
      condition('ContainersReady', isReady),
      condition('Ready', isReady),
    ],
    initContainerStatuses: inits.map(({ running }) => running.status()),
    containerStatuses: mains.map(({ running }) => running.status()),
  }
}

const againMs = 200

/** Writes the status when it has changed, one write after the other, until it is written; the last one is what holds. */
export function postStatus(api: KubeApi, path: string, say: (line: string) => void, now: () => V1PodStatus) {
  const since = new Map<string, { readonly status: string; readonly at: Date }>()
  let written = ''
  let writing: Promise<void> | undefined
  let over = false
  const waiting: (() => void)[] = []

  async function write(): Promise<void> {
    // What changes at once is written once.
    await Promise.resolve()
    while (!over) {
      const status = now()
      const said = JSON.stringify(status)
      if (said === written) break
      try {
        await api.call('PATCH', `${path}/status`, {
          body: { status: { ...status, conditions: (status.conditions ?? []).map(dated) } },
          contentType: 'application/strategic-merge-patch+json',
        })
        written = said
      } catch (fault) {
        if ((fault as { kind?: string }).kind === 'not-found') break
        say(`${path}: ${(fault as Error).message}`)
        await new Promise((next) => setTimeout(next, againMs))
      }
    }
    // Right after the last look, so that no change falls between.
    writing = undefined
  }

  /** With the moment of its last change. */
  function dated(condition: V1PodCondition): V1PodCondition {
    const old = since.get(condition.type)
    const at = old?.status === condition.status ? old.at : new Date()
    since.set(condition.type, { status: condition.status, at })
    return { ...condition, lastTransitionTime: new Date(Math.floor(at.getTime() / 1000) * 1000) }
  }

  return {
    changed: () => {
      for (const wake of waiting.splice(0)) wake()
      writing ??= write()
    },
    /** Resolves at the next change. */
    next: () => new Promise<void>((resolve) => waiting.push(resolve)),
    stop: async () => {
      over = true
      await writing
    },
  }
}
