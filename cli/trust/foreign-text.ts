import { age, harmless, table } from '#cli/output.ts'
import type { Paint } from '#cli/paint.ts'
import type { Foreign } from '#cli/trust/shapes.ts'
import { endsIn } from '#cli/trust/show.ts'

/** What a person reads who brought another mesh in: what is believed now, who admits it, and what comes next. */
export function foreignText(
  seen: Foreign,
  { now, paint, isNew, isRehearsal }: { now: number; paint: Paint; isNew: boolean; isRehearsal: boolean },
): string {
  const name = harmless(seen.trustDomain)
  const done = isRehearsal ? 'would be federated (dry run)' : isNew ? 'is federated' : 'is federated with these roots'
  const next =
    seen.admittedBy.length > 0
      ? ''
      : `Nobody admits it yet. In the cluster of a service that should, on its ServiceExport:\n` +
        `  isthmus.dev/consumers: "*, spiffe://${name}"\n`
  return `${name} ${done}\n${foreignTable([seen], now, paint)}${next}`
}

const heading = ['FOREIGN TRUST DOMAIN', 'ROOTS', 'LAST ENDS', 'SEQUENCE', 'SINCE', 'ADMITTED BY']

export const foreignTable = (all: readonly Foreign[], now: number, paint: Paint): string =>
  table([heading, ...all.map((one) => lineOf(one, now))], paint)

function lineOf({ trustDomain, roots, sequence, updatedAt, admittedBy }: Foreign, now: number): string[] {
  const last = roots
    .map(({ notAfter }) => notAfter)
    .toSorted()
    .at(-1)
  const who = admittedBy.slice(0, shownMax).join(', ')
  const more = admittedBy.length > shownMax ? ` and ${admittedBy.length - shownMax} more` : ''
  return [
    ...[trustDomain, String(roots.length), endsIn(last, now), sequence === null ? '–' : String(sequence)],
    ...[age(updatedAt, now), who === '' ? 'nobody' : `${who}${more}`],
  ].map(harmless)
}

const shownMax = 5
