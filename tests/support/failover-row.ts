import type { Call, Calls } from '#tests/support/failover-load.ts'
import { type Counted, type Row, slowMs } from '#tests/support/failover-table.ts'

/** Something that goes wrong with `near`, and what is to be of those who call from `home`. */
export type Scenario = {
  readonly name: string
  readonly fault: () => unknown
  /** What is to be so before anything is mended. */
  readonly until: () => Promise<unknown>
  readonly mend: () => unknown
  /** Played this often; after the first time not longer than until everything is steady. */
  readonly times?: number
  /** Statuses that are as they should be. */
  readonly right?: readonly number[]
  /** What breaks says so at once: of calls that must not be repeated no others fail than those in flight. */
  readonly refuses?: true
  /** Nobody is sent away: at most this part of the GETs is answered by `far`. */
  readonly awayMax?: number
  /** A row of its own for what happens from its mending on. */
  readonly mending?: string
}

/** Who calls, by kind: those of `calls` and `posts` must not be repeated. */
export type Load = { readonly [K in 'gets' | 'repeatable' | 'calls' | 'posts']: Calls }

/** A row, and what of it must not be. */
export type Played = { readonly row: Row; readonly faults: readonly string[] }

/** What is known of a play beside its calls. */
type Sight = {
  readonly load: Load
  readonly scenario: Scenario
  readonly doubled: number
  readonly back: number
  readonly stillMs: number
  /** When the fault began and was complete, and when its end began; absent where nothing broke. */
  readonly broken?: { readonly from: number; readonly to: number; readonly mended: number }
}

/** On a busy machine a connection's end is heard of only so late. */
const heardMs = 500

/** The calls that began from `begun` on, as a row. */
export function rowSince(begun: number, { load, scenario, doubled, back, stillMs, broken }: Sight): Played {
  const { right = [200] } = scenario
  const isWrong = ({ status, fault }: Call) => fault !== undefined || !right.includes(status ?? 200)
  const [gets, repeatable] = [load.gets.of(begun), load.repeatable.of(begun)]
  const [calls, posts] = [load.calls.of(begun), load.posts.of(begun)]
  const again = [...gets, ...repeatable]
  const counted = (all: readonly Call[]): Counted => ({ made: all.length, failed: all.filter(isWrong).length })
  const once = (all: readonly Call[]): Counted => {
    if (broken === undefined) return counted(all)
    const inFlight = all.filter((one) => one.begun <= broken.to && one.ended >= broken.from)
    return { ...counted(all), inFlight: inFlight.length }
  }
  const cut = repeatable.filter((one) => isWrong(one) && wasCut(one))
  const isSlow = (one: Call) => one.begun < (broken?.mended ?? 0) && one.ended - one.begun > slowMs
  const row: Row = {
    ...{ scenario: scenario.name, doubled, stillMs },
    ...{ gets: counted(gets), repeatable: { ...counted(repeatable), cut: cut.length } },
    ...{ calls: once(calls), posts: once(posts) },
    slowestMs: [Math.max(0, ...again.map((one) => one.ended - one.begun))],
    steadyMs: broken ? [Math.max(0, ...again.filter(isSlow).map(({ ended }) => ended - broken.from))] : [],
    backMs: [back],
    note: [whoAnswered(gets), ...howFailed(again.filter(isWrong))].join('; '),
  }
  const late = [...calls, ...posts].filter((one) => isWrong(one) && one.begun > (broken?.to ?? begun) + heardMs)
  return { row, faults: faultsOf(row, scenario, { late, gets }) }
}

function faultsOf(
  { gets, repeatable, doubled, note }: Row,
  { refuses, awayMax }: Scenario,
  seen: { readonly late: readonly Call[]; readonly gets: readonly Call[] },
): readonly string[] {
  const faults: string[] = []
  if (gets.failed > 0) faults.push(`${gets.failed} of ${gets.made} GETs failed: ${note}`)
  const lost = repeatable.failed - (repeatable.cut ?? 0)
  if (lost > 0) faults.push(`${lost} calls of gRPC that may be repeated failed: ${note}`)
  if (doubled > 0) faults.push(`${doubled} orders were carried out twice`)
  if (refuses && seen.late.length > 0)
    faults.push(`${seen.late.length} orders failed that were not under way: ${howFailed(seen.late).join(', ')}`)
  const away = seen.gets.filter(({ cluster }) => cluster === 'far').length / Math.max(1, gets.made)
  if (awayMax !== undefined && away > awayMax) faults.push(`far answered ${(away * 100).toFixed(1)} % of the GETs`)
  return faults
}

/** Its answer had begun when the connection ended: what the caller has in part no proxy can ask for again. */
const wasCut = ({ fault }: Call): boolean => /Received RST_STREAM/.test(fault ?? '')

function whoAnswered(all: readonly Call[]): string {
  const by = Map.groupBy(all, ({ cluster, status }) => `${cluster ?? 'nobody'} ${status ?? ''}`.trim())
  return [...by].map(([who, some]) => `${who}: ${some.length}`).join(', ')
}

/** The first different reasons. */
const howFailed = (failed: readonly Call[]): readonly string[] =>
  [...new Set(failed.map(({ fault, status }) => fault ?? `answered ${status}`))].slice(0, 3)
