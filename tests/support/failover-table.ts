/** Calls of one kind during a scenario. */
export type Counted = {
  readonly made: number
  readonly failed: number
  /** Under way while it was broken; absent where nothing was. */
  readonly inFlight?: number
  /** Of the failed ones: those whose answer had begun. */
  readonly cut?: number
}

/** What one scenario did to those who call. Times in milliseconds; several where it was played several times. */
export type Row = {
  readonly scenario: string
  readonly gets: Counted
  /** gRPC of a service whose policy says that its calls may be repeated. */
  readonly repeatable: Counted
  /** gRPC of a service without such a word: POSTs, as Envoy sees them. */
  readonly calls: Counted
  readonly posts: Counted
  readonly doubled: number
  /** Of the calls that may be repeated. */
  readonly slowestMs: readonly number[]
  /** From the fault until the last of these had ended that took longer than `slowMs`. */
  readonly steadyMs: readonly number[]
  /** From the end of the fault until the first tier answered everything again. */
  readonly backMs: readonly number[]
  /** How long the calling process stood still at most: what a busy machine did, and nothing that was tested. */
  readonly stillMs: number
  /** Whose answers the GETs had, and how the first calls failed. */
  readonly note: string
}

/** What takes longer is told. */
export const slowMs = 500

const heads = [
  ...['scenario', 'GETs failed', 'repeatable gRPC failed', 'gRPC failed', 'POSTs failed', 'doubled'],
  ...['slowest', 'steady after', 'back after', 'who answered the GETs'],
]

/** As Markdown. */
export function tableOf(rows: readonly Row[]): string {
  const lines = rows.map((row) => [
    ...[row.scenario, ...[row.gets, row.repeatable, row.calls, row.posts].map(countOf), row.doubled],
    ...[row.slowestMs, row.steadyMs, row.backMs].map(timeOf),
    row.stillMs < slowMs ? row.note : `${row.note}; the machine stood still for ${(row.stillMs / 1000).toFixed(1)} s`,
  ])
  return [heads, heads.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}

function countOf({ made, failed, inFlight, cut = 0 }: Counted): string {
  const more = cut > 0 ? ` (${cut} in mid-answer)` : inFlight === undefined ? '' : ` (${inFlight} in flight)`
  return `${failed} of ${made}${more}`
}

/** The median, and all of them where there are several. */
function timeOf(times: readonly number[]): string {
  const all = times.map((ms) => (ms / 1000).toFixed(1))
  const median = medianOf(times)
  if (median === undefined) return ''
  return `${(median / 1000).toFixed(1)} s${all.length > 1 ? ` (${all.join(', ')})` : ''}`
}

export const medianOf = (all: readonly number[]): number | undefined =>
  all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]

/** Several plays of one scenario as one row. */
export function rowOf(plays: readonly Row[]): Row {
  const [first] = plays
  if (first === undefined) throw new Error('nothing was played')
  const sum = (kind: 'gets' | 'repeatable' | 'calls' | 'posts'): Counted => {
    const all = plays.map((one) => one[kind])
    const flights = all.flatMap(({ inFlight }) => inFlight ?? [])
    const cuts = all.flatMap(({ cut }) => cut ?? [])
    return {
      made: total(all.map(({ made }) => made)),
      failed: total(all.map(({ failed }) => failed)),
      ...(flights.length > 0 ? { inFlight: total(flights) } : {}),
      ...(cuts.length > 0 ? { cut: total(cuts) } : {}),
    }
  }
  return {
    ...first,
    ...{ gets: sum('gets'), repeatable: sum('repeatable'), calls: sum('calls'), posts: sum('posts') },
    doubled: total(plays.map(({ doubled }) => doubled)),
    stillMs: Math.max(...plays.map(({ stillMs }) => stillMs)),
    note: [...new Set(plays.map(({ note }) => note))].join(' / '),
    slowestMs: plays.flatMap(({ slowestMs }) => slowestMs),
    steadyMs: plays.flatMap(({ steadyMs }) => steadyMs),
    // The others may not have lasted until anybody gave a verdict.
    backMs: first.backMs,
  }
}

const total = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0)
