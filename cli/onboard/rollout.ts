import type { ClusterApi, Json } from '#cli/onboard/cluster-api.ts'
import { selectorOf, systemNamespace } from '#cli/onboard/manifests/object.ts'

/** How far a Deployment is, and what keeps it from going on. */
export type Rollout = {
  readonly ready: number
  readonly wanted: number
  readonly isDone: boolean
  readonly why?: string
  /** It will not go on by itself. */
  readonly isStuck?: boolean
  readonly mend?: string
}

type Status = {
  readonly observedGeneration?: number
  readonly updatedReplicas?: number
  readonly availableReplicas?: number
}

/** Looks at a Deployment of ours and, where it is not done, at its pods for the reason. */
export async function readRollout(api: ClusterApi, name: string): Promise<Rollout> {
  const found = await api.find(`/apis/apps/v1/namespaces/${systemNamespace}/deployments/${name}`)
  const { generation = 0 } = (found?.['metadata'] ?? {}) as { generation?: number }
  const { replicas: wanted = 1 } = (found?.['spec'] ?? {}) as { replicas?: number }
  const status = (found?.['status'] ?? {}) as Status
  const ready = Math.min(status.availableReplicas ?? 0, status.updatedReplicas ?? 0)
  const isDone = found !== undefined && (status.observedGeneration ?? 0) >= generation && ready >= wanted
  if (isDone) return { ready, wanted, isDone }
  const labelSelector = Object.entries(selectorOf(name))
    .map(([key, value]) => `${key}=${value}`)
    .join(',')
  const pods = (await api.list(`/api/v1/namespaces/${systemNamespace}/pods`, { labelSelector })) as readonly Pod[]
  const faults = await Promise.all(pods.map((pod) => podFault(api, pod)))
  const worst = faults.find((fault) => fault?.isStuck) ?? faults.find((fault) => fault !== undefined)
  const none = pods.length === 0 ? { why: 'it has no pod yet' } : {}
  return { ready, wanted, isDone, ...none, ...worst }
}

type ContainerState = {
  readonly waiting?: { readonly reason?: string; readonly message?: string }
  readonly terminated?: { readonly exitCode?: number; readonly reason?: string }
}
type Pod = Json & {
  readonly metadata?: { readonly name?: string }
  readonly status?: {
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[]
    readonly containerStatuses?: readonly {
      readonly name: string
      readonly image?: string
      readonly restartCount?: number
      readonly state?: ContainerState
      readonly ready?: boolean
    }[]
  }
}
type Fault = Pick<Rollout, 'why' | 'isStuck' | 'mend'>

const unpulled = new Set(['ErrImagePull', 'ImagePullBackOff', 'InvalidImageName', 'ErrImageNeverPull'])

async function podFault(api: ClusterApi, pod: Pod): Promise<Fault | undefined> {
  const { name = '' } = pod.metadata ?? {}
  const { conditions = [], containerStatuses = [] } = pod.status ?? {}
  const scheduled = conditions.find(({ type }) => type === 'PodScheduled')
  if (scheduled?.status === 'False')
    return { why: `pod ${name} finds no node: ${scheduled.message ?? 'no reason'}`, mend: 'make room, or add a node' }
  for (const { name: container, image, restartCount = 0, state = {}, ready } of containerStatuses) {
    const { reason = '', message } = state.waiting ?? {}
    if (unpulled.has(reason))
      return {
        why: `pod ${name} cannot pull ${image ?? 'its image'}: ${message ?? reason}`,
        isStuck: reason !== 'ErrImagePull',
        mend: 'name a registry that its nodes reach: --registry <registry>, or --image and --proxy-image',
      }
    if (reason === 'CreateContainerConfigError' || reason === 'CreateContainerError')
      return {
        why: `pod ${name} cannot start: ${message ?? reason}`,
        mend: `kubectl -n ${systemNamespace} describe pod ${name}`,
      }
    if (restartCount > 0 && ready !== true) {
      const last = await lastLine(api, {
        pod: name,
        container,
        isRunning: state.waiting === undefined && !state.terminated,
      })
      const mend = `kubectl -n ${systemNamespace} logs ${name} --previous`
      return {
        why: `pod ${name} ended ${restartCount} times; its last words: ${last}`,
        isStuck: restartCount >= 4 && reason === 'CrashLoopBackOff',
        mend,
      }
    }
  }
  return containerStatuses.length > 0 && containerStatuses.every(({ ready }) => ready !== true)
    ? { why: `pod ${name} runs and is not ready yet` }
    : undefined
}

type Logged = { readonly pod: string; readonly container: string; readonly isRunning: boolean }

/** Of the container that ended; empty where nobody has it any more. */
async function lastLine(api: ClusterApi, { pod, container, isRunning }: Logged): Promise<string> {
  const path = `/api/v1/namespaces/${systemNamespace}/pods/${pod}/log`
  try {
    const text = await api.call('GET', path, { query: { container, tailLines: 20, previous: isRunning }, isText: true })
    const lines = String(text ?? '')
      .trim()
      .split('\n')
    return (lines.at(-1) ?? '').slice(0, 400) || 'none'
  } catch {
    return 'its log cannot be had'
  }
}
