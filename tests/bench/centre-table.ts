import type { CentreFigures, Spread } from '#tests/bench/centre-figures.ts'
import type { Row } from '#tests/bench/report.ts'

type Rows = Readonly<Record<string, Readonly<Record<string, number | string>>>>

/** The figures of the centre as rows to print: each beside its floors of the same run. */
export function centreTables({ engines }: CentreFigures): { readonly syncs: Rows; readonly hints: Rows } {
  const known = Object.entries(engines)
  return {
    syncs: Object.fromEntries(
      known.flatMap(([engine, { syncs }]) =>
        syncs.map((one) => [
          `${engine}: ${one.members} members × ${one.items} items${one.watched ? ', all watching' : ''}`,
          {
            'commits/s': rounded(one.commitsPerSecond),
            'items/s': Math.round(one.itemsPerSecond),
            'ms p50/p99': shown(one.sync),
            'centre CPU s per 1,000': rounded(one.centreCpuPer1000),
            'bare inserts/s': Math.round(one.storeFloor.perSecond),
            'bare HTTPS/s': Math.round(one.httpFloor.perSecond),
            'of inserts': rounded(one.commitsPerSecond / one.storeFloor.perSecond),
            'of HTTPS': rounded(one.commitsPerSecond / one.httpFloor.perSecond),
            'hints/s': Math.round(one.hintsPerSecond),
            'generator busy': rounded(one.generatorBusy),
            'machine busy': rounded(one.machineBusy),
          },
        ]),
      ),
    ),
    hints: Object.fromEntries(
      known.map(([engine, { hints, centreRssMb }]) => [
        `${engine}: ${hints.changes} changes, ms p50/p99`,
        {
          'sync → 2xx': shown(hints.sync),
          'sync → hint': shown(hints.sendToHint),
          '2xx → hint': shown(hints.answerToHint),
          'sync → held (delta in the hint)': shown(hints.sendToHeld),
          'hint → held (pulled)': shown(hints.hintToPulled),
          'centre RSS MB': Math.round(centreRssMb),
        },
      ]),
    ),
  }
}

/** What is asked of the centre, by engine: what it takes in at its fullest point, and how soon others hear of a change. */
export function centreRows({ engines }: CentreFigures): Row[] {
  return Object.entries(engines).flatMap(([engine, { syncs, hints }]) => {
    const most = (of: (one: (typeof syncs)[number]) => number) => syncs.toSorted((a, b) => of(b) - of(a))[0]
    const commits = most((one) => one.commitsPerSecond)
    const items = most((one) => one.itemsPerSecond)
    if (!commits || !items) return []
    const { commitsPerSecond, httpFloor, storeFloor, centreCpuPer1000 } = commits
    return [
      {
        what: `centre on ${engine}: syncs committed a second, ${commits.members} members × ${commits.items} items`,
        seen:
          `${commitsPerSecond.toFixed(0)}; bare HTTPS ${httpFloor.perSecond.toFixed(0)}, bare inserts ` +
          `${storeFloor.perSecond.toFixed(0)}; ${centreCpuPer1000.toFixed(2)} ms of processor for each`,
      },
      {
        what: `the same: changes committed a second, ${items.members} members × ${items.items} items`,
        seen: items.itemsPerSecond.toFixed(0),
        bar: { text: '≥ 5,000', reached: items.itemsPerSecond >= 5000 },
      },
      {
        what: 'the same: one change, from its 2xx and from its request to the hint at another cluster, p99',
        seen: `${hints.answerToHint.p99} ms; ${hints.sendToHint.p99} ms, p50 ${hints.sendToHint.p50} ms`,
        bar: { text: '≤ 50 ms', reached: hints.sendToHint.p99 <= 50 },
      },
    ]
  })
}

const rounded = (value: number): number => (value >= 100 ? Math.round(value) : Number(value.toPrecision(2)))
const shown = ({ p50, p99 }: Spread): string => `${p50} / ${p99}`
