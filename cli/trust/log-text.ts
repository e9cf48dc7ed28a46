import { harmless, type Row, render } from '#cli/output.ts'
import type { Paint } from '#cli/paint.ts'
import type { Issuance, LogCheck } from '#cli/trust/shapes.ts'

const or = (text: string | null | undefined): string => text ?? '–'

/** What the centre has signed, oldest first. */
export const logText = (rows: readonly Issuance[], paint: Paint): string =>
  render(
    {
      rows: rows as readonly Row[],
      single: false,
      columns: [
        ['SEQ', (row) => String(row['seq'])],
        ['AT', (row) => String(row['at'])],
        ['KIND', (row) => String(row['kind'])],
        ['CLUSTER', (row) => or(row['cluster'] as string | null)],
        ['SERIAL', (row) => or(row['serial'] as string | null)],
        ['KEY', (row) => or(row['keySha256'] as string | null).slice(0, 12)],
      ],
    },
    'table',
    0,
    paint,
  )

/** Whether the chain of the log is whole, with its head, and the heads of the relays’ own logs. */
export function logCheckText({ checked, head, brokenAt, relays }: LogCheck, paint: Paint): string {
  const count = checked.toLocaleString('en-US')
  const whole = brokenAt === undefined || brokenAt === null
  const verdict = whole ? paint('good', 'chain whole') : paint('bad', `chain broken at ${brokenAt}`)
  return [
    `${count} entries, ${verdict}, head ${head.seq} ${head.hash.slice(0, 12)}\n`,
    ...relays.map((one) =>
      harmless(`  relay of ${one.cluster}: head ${one.seq} ${one.hash.slice(0, 12)}`).concat('\n'),
    ),
  ].join('')
}
