/** One point of load: so many members, each with one connection, each sending the next sync when the last is answered. */
export type SyncPoint = {
  readonly members: number
  /** Changed items in each sync. */
  readonly items: number
  /** Every member has its hint connection open, so each commit is told to all others. */
  readonly watched: boolean
}

/** Milliseconds: half and 99 of 100 are no longer. */
export type Spread = { readonly p50: number; readonly p99: number }

export type SyncFigures = SyncPoint & {
  readonly commitsPerSecond: number
  readonly itemsPerSecond: number
  /** As the member sees it: from before its request is made to after its answer is parsed. */
  readonly sync: Spread
  /** CPU seconds of the centre's process, all its threads, for 1,000 commits. */
  readonly centreCpuPer1000: number
  /** The share of the time that the load generator was computing: near 1, it measured itself. */
  readonly generatorBusy: number
  /** The share of all cores that was busy with anything. */
  readonly machineBusy: number
  /** Hints that the members have got, for each second. */
  readonly hintsPerSecond: number
  /** A bare HTTPS server that answers the same requests with the same bytes. */
  readonly httpFloor: Floor
  /** A bare insert of the changed items' bodies, one statement a commit, from as many callers. */
  readonly storeFloor: Floor
}

export type Floor = { readonly perSecond: number; readonly took: Spread }

/** One change at a time on a quiet centre. A negative time: the hint was there before the writer's answer. */
export type HintFigures = {
  readonly changes: number
  /** From before the writer's request to its 2xx. */
  readonly sync: Spread
  /** From the writer's 2xx to the hint at another member. */
  readonly answerToHint: Spread
  /** From before the writer's request to the hint. */
  readonly sendToHint: Spread
  /** From the writer's request until the change was applied by a receiver that takes the delta in the hint. */
  readonly sendToHeld: Spread
  /** From the hint until the change was applied by a receiver that pulls. */
  readonly hintToPulled: Spread
}

export type EngineFigures = {
  readonly syncs: readonly SyncFigures[]
  readonly hints: HintFigures
  /** Resident set of the centre's process at the end. */
  readonly centreRssMb: number
}

export type CentreFigures = {
  readonly engines: Readonly<Partial<Record<CentreEngine, EngineFigures>>>
  /** One-minute load of the machine before it began: with others at work these are no figures. */
  readonly loadBefore: number
}

export type CentreEngine = 'postgres' | 'embedded'

export function spreadOf(times: readonly number[]): Spread {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => rounded(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))])
  return { p50: at(0.5), p99: at(0.99) }
}

const rounded = (ms = Number.NaN) => Math.round(ms * 100) / 100
