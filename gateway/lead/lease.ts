import { isIP } from 'node:net'
import { z } from 'zod'
import type { KubeApi } from '#gateway/kube-api.ts'
import type { Place } from '#gateway/lead/hand-on.ts'
import { Problem } from '#mesh/model/problem.ts'

export type LeadParts = {
  readonly api: KubeApi
  readonly namespace: string
  readonly name: string
  /** Who this replica is: the pod's name. */
  readonly identity: string
  /** Where the other replicas reach this one, while it leads. */
  readonly address: Place
  /** Called with each change of `leads`. */
  readonly onChange: (leads: boolean) => void
  readonly log: { info(facts: object, text: string): void; warn(facts: object, text: string): void }
  readonly times?: Partial<typeof leaseTimes>
  /** Milliseconds of a clock that never jumps. */
  readonly upMs?: () => number
  /** The wall clock: what others read in the Lease. */
  readonly wall?: () => Date
}

export type Lead = {
  /** Whether this replica is the one that reports. */
  leads(): boolean
  /** Who holds the Lease, as last seen. */
  holder(): string | undefined
  /** Where the replica that leads is reached; undefined where it is this one, or nobody knows. */
  leader(): Place | undefined
  /** Why the Lease could not be looked at; undefined where it could. */
  fault(): string | undefined
  /** Lets go of it, so that another need not wait. */
  stop(): Promise<void>
}

const addressKey = 'isthmus.dev/address'
const placeText = ({ host, port }: Place): string => `${host.includes(':') ? `[${host}]` : host}:${port}`

function placeIn({ metadata, spec }: Lease): { readonly place?: Place } {
  const [, six, four, digits] =
    /^(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(metadata.annotations?.[addressKey] ?? '') ?? []
  const [host, port] = [six ?? four, Number(digits)]
  return host !== undefined && isIP(host) !== 0 && spec?.holderIdentity ? { place: { host, port } } : {}
}

/** As client-go has them: who is silent for `lease` has lost it; it is looked at each `retry`. */
const leaseTimes = { lease: 15_000, retry: 2000 }

const leaseSchema = z.object({
  metadata: z.object({ resourceVersion: z.string(), annotations: z.record(z.string(), z.string()).nullish() }),
  spec: z
    .object({
      holderIdentity: z.string().nullish(),
      renewTime: z.string().nullish(),
      leaseDurationSeconds: z.number().nullish(),
      leaseTransitions: z.number().nullish(),
      acquireTime: z.string().nullish(),
    })
    .nullish(),
})
type Lease = z.infer<typeof leaseSchema>

/**
 * Holds a Lease against the other replicas. Who held it last goes by this process's own clock: a Lease that did not move
 * for its whole duration has lost its holder, whatever times are written in it. While the API server cannot be asked
 * everything stays as it is: nobody else can take the Lease from it either, and where only this replica is cut off, what
 * another reports since puts an end to this one's epoch. Source: client-go, `tools/leaderelection`.
 */
export function openLead(parts: LeadParts): Lead {
  const { api, identity, log, upMs = () => performance.now(), wall = () => new Date() } = parts
  const times = { ...leaseTimes, ...parts.times }
  const leases = `/apis/coordination.k8s.io/v1/namespaces/${parts.namespace}/leases`
  let leads = false
  let fault: string | undefined
  let seen: { readonly mark: string; readonly holder: string; readonly at: number; readonly place?: Place } | undefined
  let stopped = false
  let timer: NodeJS.Timeout | undefined
  let looking = look()

  return {
    leads: () => leads,
    holder: () => seen?.holder,
    leader: () => (leads ? undefined : seen?.place),
    fault: () => fault,
    stop: async () => {
      stopped = true
      clearTimeout(timer)
      await looking
      if (leads) await letGo().catch(() => undefined)
      leads = false
    },
  }

  async function look(): Promise<void> {
    try {
      await round()
      fault = undefined
    } catch (error) {
      // Another was faster: who it is the next look sees.
      if (!(error instanceof Problem) || (error.kind !== 'stale' && error.kind !== 'conflict')) {
        const err = (error as Error).message
        if (err !== fault) log.warn({ err }, 'the Lease cannot be looked at: who reports stays as it is')
        fault = err
      }
    }
    if (stopped) return
    timer = setTimeout(
      () => {
        looking = look()
      },
      times.retry * (0.9 + Math.random() * 0.2),
    ).unref()
  }

  async function round(): Promise<void> {
    const lease = await load()
    if (!lease) {
      take(await api.call('POST', leases, { body: body(undefined, { transitions: 0 }) }))
      return
    }
    const { holderIdentity, leaseTransitions } = lease.spec ?? {}
    const holder = holderIdentity ?? ''
    if (seen?.mark !== lease.metadata.resourceVersion)
      seen = { mark: lease.metadata.resourceVersion, holder, at: upMs(), ...placeIn(lease) }
    const isMine = holder === identity
    if (!isMine && holder !== '' && upMs() - seen.at < durationMs(lease)) {
      set(false)
      return
    }
    const transitions = (leaseTransitions ?? 0) + (isMine ? 0 : 1)
    const path = `${leases}/${parts.name}`
    take(await api.call('PUT', path, { body: body(lease, isMine ? { transitions, kept: lease } : { transitions }) }))
  }

  async function load(): Promise<Lease | undefined> {
    try {
      return leaseSchema.parse(await api.call('GET', `${leases}/${parts.name}`))
    } catch (error) {
      if (error instanceof Problem && error.kind === 'not-found') return undefined
      throw error
    }
  }

  /** A Lease that another program made may say how long it is good; nobody waits for more than a minute. */
  function durationMs({ spec }: Lease): number {
    return Math.min(60_000, Math.max(times.lease, (spec?.leaseDurationSeconds ?? 0) * 1000))
  }

  function body(lease: Lease | undefined, { transitions, kept }: { transitions: number; kept?: Lease }) {
    const now = wall().toISOString().replace('Z', '000Z')
    return {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: {
        ...{ name: parts.name, namespace: parts.namespace, annotations: { [addressKey]: placeText(parts.address) } },
        ...(lease ? { resourceVersion: lease.metadata.resourceVersion } : {}),
      },
      spec: {
        holderIdentity: identity,
        leaseDurationSeconds: Math.ceil(times.lease / 1000),
        acquireTime: kept?.spec?.acquireTime ?? now,
        renewTime: now,
        leaseTransitions: transitions,
      },
    }
  }

  function take(answer: unknown): void {
    const { metadata } = leaseSchema.parse(answer)
    seen = { mark: metadata.resourceVersion, holder: identity, at: upMs() }
    set(true)
  }

  function set(next: boolean): void {
    if (next === leads || stopped) return
    leads = next
    log.info({ identity, holder: seen?.holder }, next ? 'this replica reports' : 'another replica reports')
    parts.onChange(next)
  }

  async function letGo(): Promise<void> {
    const lease = await load()
    if (lease?.spec?.holderIdentity !== identity) return
    const path = `${leases}/${parts.name}`
    const { spec } = body(lease, { transitions: lease.spec.leaseTransitions ?? 0, kept: lease })
    const { metadata } = lease
    await api.call('PUT', path, {
      body: {
        ...{ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', spec: { ...spec, holderIdentity: '' } },
        metadata: { name: parts.name, namespace: parts.namespace, resourceVersion: metadata.resourceVersion },
      },
    })
  }
}
