import { join } from 'node:path'
import type { V1Container, V1ContainerStatus, V1Pod } from '@kubernetes/client-node'
import { type Container, startContainer } from '#tests/support/kubernetes/node/container.ts'
import { environmentOf, expanded, type Facts, NotYet } from '#tests/support/kubernetes/node/environment.ts'
import { startProbe, succeeds } from '#tests/support/kubernetes/node/probe.ts'
import type { Volumes } from '#tests/support/kubernetes/node/volumes.ts'

/** What stands for an image: a program of this machine. */
export type Image = {
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Files of the machine that the image has elsewhere, or that only root may reach. */
  readonly mounts?: readonly { readonly from: string; readonly to: string }[]
  /** Its user, where the pod says none. */
  readonly user?: number
}

export type RunningParts = {
  readonly container: V1Container
  readonly pod: V1Pod
  readonly facts: Facts
  readonly volumes: Volumes
  readonly image: Image | undefined
  readonly files: Readonly<Record<string, string>>
  readonly enter: readonly string[]
  readonly dir: string
  readonly log: string
  /** Its status is another one. */
  readonly changed: () => void
}

/** One container of a pod over its whole life: started, probed, started again. */
export type Running = {
  readonly name: string
  status(): V1ContainerStatus
  isStarted(): boolean
  isReady(): boolean
  /** Once, to its end; gives its exit code. */
  once(): Promise<number>
  /** Again and again as the policy says; resolves with the last exit code, after `stop` or when no other run is due. */
  keep(policy: string): Promise<number>
  /** Runs the hook before the end, once however often it is asked for. */
  prepared(graceMs: number): Promise<void>
  /** The hook before the end, SIGTERM, and SIGKILL `graceMs` after it was asked; resolves when it has ended. */
  stop(graceMs: number): Promise<void>
  /** Its program ends at once. */
  kill(): void
}

const backoffMsMin = 200
const backoffMsMax = 5000
const notYetMs = 200

export function runningOf(parts: RunningParts): Running {
  const { container, pod, facts, image } = parts
  const { name, readinessProbe, livenessProbe, startupProbe } = container
  let state: NonNullable<V1ContainerStatus['state']> = { waiting: { reason: 'PodInitializing' } }
  let lastState: V1ContainerStatus['lastState']
  let runs = 0
  let started = false
  let ready = false
  let over = false
  let current: Container | undefined
  let probes: readonly { stop(): void }[] = []
  let wake: () => void = () => undefined
  const set = (next: typeof state): void => {
    state = next
    parts.changed()
  }
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  function probe(): void {
    const probed = { podIp: facts.podIp, container, inside: () => current?.inside() }
    const steady = (): void => {
      started = true
      ready = readinessProbe === undefined
      parts.changed()
      const readiness = readinessProbe && startProbe(readinessProbe, probed, setReady)
      const liveness =
        livenessProbe &&
        startProbe(livenessProbe, probed, (alive) => {
          if (!alive) end('SIGTERM', 30_000)
        })
      probes = [...probes, ...[readiness, liveness].filter((one) => one !== undefined)]
    }
    const setReady = (passes: boolean): void => {
      if (ready === passes) return
      ready = passes
      parts.changed()
    }
    if (!startupProbe) {
      steady()
      return
    }
    const startup = startProbe(startupProbe, probed, (passes) => {
      startup.stop()
      if (passes) steady()
      else end('SIGTERM', 30_000)
    })
    probes = [startup]
  }

  function end(signal: NodeJS.Signals, graceMs: number): void {
    const ending = current
    if (!ending) return
    ending.signal(signal)
    const late = setTimeout(() => ending.signal('SIGKILL'), graceMs)
    void ending.exited.then(() => clearTimeout(late))
  }

  /** Until everything that it is made of is there. */
  async function made(): Promise<Container | undefined> {
    while (!over) {
      if (image === undefined) {
        set({ waiting: { reason: 'ImagePullBackOff', message: `the test kubelet has no image ${container.image}` } })
        await pause(1000)
        continue
      }
      try {
        await parts.volumes.write()
        return startContainer(specOf(parts, image, join(parts.dir, `${name}-${runs}`)))
      } catch (fault) {
        const reason = fault instanceof NotYet ? 'CreateContainerConfigError' : 'CreateContainerError'
        set({ waiting: { reason, message: (fault as Error).message } })
        await pause(notYetMs)
      }
    }
    return undefined
  }

  async function once(): Promise<number> {
    current = await made()
    if (!current) return 0
    const startedAt = timeNow()
    runs++
    set({ running: { startedAt } })
    const { postStart } = container.lifecycle ?? {}
    if (postStart?.exec) await succeeds(current.inside(), postStart.exec.command ?? [], 30_000)
    probe()
    const exitCode = await current.exited
    for (const one of probes) one.stop()
    current = undefined
    probes = []
    started = false
    ready = false
    const reason = exitCode === 0 ? 'Completed' : 'Error'
    set({ terminated: { exitCode, reason, startedAt, finishedAt: timeNow() } })
    return exitCode
  }

  let preparing: Promise<void> | undefined
  async function prepare(graceMs: number): Promise<void> {
    const { preStop } = container.lifecycle ?? {}
    if (preStop?.sleep) await pause(Math.min(preStop.sleep.seconds * 1000, graceMs))
    if (preStop?.exec) await succeeds(current?.inside(), preStop.exec.command ?? [], graceMs)
    if (preStop?.httpGet) throw new Error(`the test kubelet knows no such hook: ${pod.metadata?.name}`)
  }
  const prepared = (graceMs: number): Promise<void> => {
    preparing ??= prepare(graceMs)
    return preparing
  }

  return {
    name,
    prepared,
    status: () => ({
      ...{ name, image: container.image ?? '', imageID: container.image ?? '', ready, started, state },
      ...{ restartCount: Math.max(0, runs - 1) },
      ...(lastState ? { lastState } : {}),
    }),
    isStarted: () => started,
    isReady: () => ready,
    kill: () => {
      wake()
      current?.signal('SIGKILL')
    },
    once,
    keep: async (policy) => {
      for (let failures = 0; ; failures++) {
        const code = await once()
        if (over || policy === 'Never' || (policy === 'OnFailure' && code === 0)) return code
        lastState = state
        set({ waiting: { reason: 'CrashLoopBackOff', message: `ended with ${code}` } })
        await pause(Math.min(backoffMsMax, backoffMsMin * 2 ** failures))
        if (over) return code
      }
    },
    stop: async (graceMs) => {
      over = true
      wake()
      const stopping = current
      if (!stopping) return
      const dueAt = performance.now() + graceMs
      await prepared(graceMs)
      end(
        container.lifecycle?.stopSignal === undefined ? 'SIGTERM' : (container.lifecycle.stopSignal as NodeJS.Signals),
        Math.max(0, dueAt - performance.now()),
      )
      await stopping.exited
    },
  }
}

function specOf({ container, pod, facts, volumes, files, enter, log }: RunningParts, image: Image, dir: string) {
  const inPod = pod.spec?.securityContext
  const own = container.securityContext
  const set = environmentOf(container, facts)
  const env = {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: '/',
    HOSTNAME: pod.metadata?.name ?? '',
    ...image.env,
    ...set,
  }
  const user = own?.runAsUser ?? inPod?.runAsUser ?? image.user
  if ((own?.runAsNonRoot ?? inPod?.runAsNonRoot) && (user ?? 0) === 0)
    throw new Error('container has runAsNonRoot and image will run as root')
  const group = own?.runAsGroup ?? inPod?.runAsGroup
  const command = (container.command ?? image.command).map((word) => expanded(word, set))
  return {
    ...{ env, files, enter, dir, log },
    command: [...command, ...(container.args ?? []).map((word) => expanded(word, set))],
    cwd: container.workingDir ?? '/',
    mounts: [...(image.mounts ?? []).map((one) => ({ ...one, readOnly: true })), ...volumes.mountsOf(container)],
    readOnlyRoot: own?.readOnlyRootFilesystem === true,
    ...(user === undefined ? {} : { user }),
    ...(group === undefined ? {} : { group }),
  }
}

/** As Kubernetes writes it, to the second. */
const timeNow = (): Date => new Date(Math.floor(Date.now() / 1000) * 1000)
