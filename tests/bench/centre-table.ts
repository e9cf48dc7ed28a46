import type { CentreFigures, Spread } from '#tests/bench/centre-figures.ts'

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

const rounded = (value: number): number => (value >= 100 ? Math.round(value) : Number(value.toPrecision(2)))
const shown = ({ p50, p99 }: Spread): string => `${p50} / ${p99}`
