import { isDeepStrictEqual } from 'node:util'
import type { Ask } from '#gateway/resolve/ask-dns.ts'
import {
  afterAnswer,
  type KnownName,
  knownAtStart,
  type NameLimits,
  nameLimits,
  nextAskMs,
} from '#gateway/resolve/known-name.ts'

/** Addresses to dial by name, sorted. A name without any is absent: unknown, or gone for longer than is forgiven. */
export type Answers = ReadonlyMap<string, readonly string[]>

export type ResolverParts = {
  readonly ask: Ask
  /** Last good answers of an earlier process: served until this one has its own. */
  readonly saved: Answers
  /** Called with all good answers whenever one changed. Must not throw. */
  readonly onChange: (answers: Answers) => void
  readonly log: { warn(facts: object, text: string): void; info(facts: object, text: string): void }
  /** Ms of a clock that never goes back. */
  readonly now?: () => number
  readonly random?: () => number
  readonly limits?: Partial<NameLimits>
}

export type NameFault = {
  readonly name: string
  readonly reason: string
  readonly forMs: number
  readonly addresses: number
}

export type NameResolver = {
  /** The names to follow from now on; others are forgotten. Past the limit the last ones in order are left out. */
  want(names: Iterable<string>): void
  /** The same map for as long as nothing changes. */
  answers(): Answers
  /** Names without a fresh good answer, and names of which not all addresses are dialled. */
  faults(): readonly NameFault[]
  counts(): { readonly names: number; readonly unresolved: number; readonly stale: number }
  stop(): void
}

type Followed = { known: KnownName | undefined; dueAt: number; isAsked: boolean }

/** Follows the addresses of names: asks as each answer's life ends, never more than a few at once, never in a hurry. */
export function openResolver(parts: ResolverParts): NameResolver {
  const { ask, saved, onChange, log, now = () => performance.now(), random = Math.random } = parts
  const limits = { ...nameLimits, ...parts.limits }
  const followed = new Map<string, Followed>()
  let answers: Answers = new Map()
  let leftOut: readonly string[] = []
  let asking = 0
  let timer: NodeJS.Timeout | undefined
  let stopped = false

  return {
    want,
    answers: () => answers,
    faults,
    counts: () => ({
      names: followed.size,
      unresolved: [...followed.keys()].filter((name) => !answers.has(name)).length + leftOut.length,
      stale: [...followed.values()].filter(({ known }) => known?.fault && known.addresses.length > 0).length,
    }),
    stop: () => {
      stopped = true
      clearTimeout(timer)
    },
  }

  function want(names: Iterable<string>): void {
    const all = [...new Set(names)].toSorted()
    const wanted = new Set(all.slice(0, limits.names))
    leftOut = all.slice(limits.names)
    for (const name of followed.keys()) if (!wanted.has(name)) followed.delete(name)
    for (const name of wanted) {
      if (followed.has(name)) continue
      const last = (saved.get(name) ?? []).slice(0, limits.addressesPerName)
      followed.set(name, {
        known: last.length > 0 ? knownAtStart(last, now()) : undefined,
        dueAt: now(),
        isAsked: false,
      })
    }
    gather()
    wake()
  }

  /** Asks what is due, then sleeps until something is. */
  function wake(): void {
    clearTimeout(timer)
    if (stopped) return
    const at = now()
    const waiting = [...followed].filter(([, one]) => !one.isAsked).toSorted(([, a], [, b]) => a.dueAt - b.dueAt)
    for (const [name, one] of waiting) if (one.dueAt <= at && asking < limits.questions) void askOne(name, one)
    const next = waiting.find(([, one]) => !one.isAsked)
    if (!next || asking >= limits.questions) return
    timer = setTimeout(wake, Math.max(1, next[1].dueAt - at))
    timer.unref()
  }

  async function askOne(name: string, one: Followed): Promise<void> {
    one.isAsked = true
    asking += 1
    const answer = await ask(name)
    asking -= 1
    one.isAsked = false
    if (stopped) return
    const before = one.known
    const at = now()
    one.known = afterAnswer(before, answer, at, limits)
    one.dueAt = at + nextAskMs(one.known, answer, at, random(), limits)
    tellLog(name, before, one.known)
    if (followed.get(name) === one) gather()
    wake()
  }

  function gather(): void {
    const next = new Map(
      [...followed].flatMap(([name, { known }]): [string, readonly string[]][] => {
        if (!known || known.addresses.length === 0) return []
        const list = known.addresses.map(({ address }) => address)
        const old = answers.get(name)
        return [[name, old && isDeepStrictEqual(old, list) ? old : list]]
      }),
    )
    const isSame = next.size === answers.size && [...next].every(([name, list]) => answers.get(name) === list)
    if (isSame) return
    answers = next
    onChange(answers)
  }

  function tellLog(name: string, before: KnownName | undefined, after: KnownName): void {
    const { fault } = after
    if (fault && fault.kind !== before?.fault?.kind)
      log.warn({ name, reason: fault.reason }, 'the name of a gateway has no good answer; the last good one stays')
    if (!fault && before?.fault) log.info({ name }, 'the name of a gateway has a good answer again')
  }

  function faults(): readonly NameFault[] {
    const known = [...followed].flatMap(([name, { known: one }]): NameFault[] => {
      const addresses = one?.addresses.length ?? 0
      if (one?.fault) return [{ name, reason: one.fault.reason, forMs: now() - one.fault.since, addresses }]
      if (one?.cutFrom === undefined) return []
      return [{ name, reason: `it has ${one.cutFrom} addresses; only ${addresses} are dialled`, forMs: 0, addresses }]
    })
    const why = `more than ${limits.names} names: it is not resolved`
    return [...known, ...leftOut.map((name) => ({ name, reason: why, forMs: 0, addresses: 0 }))]
  }
}
