import type { RelayAnswer } from '#cli/ask-relays.ts'
import { cell, harmless, type Row } from '#cli/output.ts'
import { type Paint, plain } from '#cli/paint.ts'
import { endsIn } from '#cli/trust/show.ts'
import type { Verified } from '#cli/trust/verify.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import { nameText } from '#mesh/trust/general-name.ts'

/** What was looked at, a line for each rule, and how many do not hold. */
export function verifiedText(
  own: Certificate,
  { profile, verdicts }: Verified,
  { now, from, paint = plain }: { readonly now: number; readonly from: string; readonly paint?: Paint },
): string {
  const names = own.names.map(nameText)
  const serial = Buffer.from(own.serial).toString('hex')
  const failed = verdicts.filter(({ faults }) => faults.length > 0).length
  const lines = verdicts.flatMap(({ rule, faults }) => [
    `${faults.length === 0 ? paint('good', 'PASS') : paint('bad', 'FAIL')}  ${harmless(rule)}\n`,
    ...faults.map((fault) => `      ${harmless(fault)}\n`),
  ])
  return [
    `${harmless(`${from}: judged as ${profile}`)}\n`,
    `${harmless(`  ${names.join(', ') || own.attributes.map(({ text }) => text).join(', ')}`)}\n`,
    `  serial ${serial}, ends ${endsIn(own.notAfter.toISOString(), now)}\n\n`,
    ...lines,
    failed === 0 ? `\n${verdicts.length} rules, all hold\n` : `\n${failed} of ${verdicts.length} rules do not hold\n`,
  ].join('')
}

/** The refused handshakes at an address, of what relays' proxies told them, each with its cluster. */
export const refusalsIn = (answers: readonly RelayAnswer[], address: string): readonly Row[] =>
  answers.flatMap(({ cluster, body }) =>
    (Array.isArray(body?.['refusals']) ? (body['refusals'] as Row[]) : [])
      .filter(({ local }) => local === address)
      .map((one) => ({ cluster, ...one })),
  )

/** Who was refused, why, and how often; empty for none. */
export const refusalsText = (refusals: readonly Row[]): string =>
  refusals.length === 0 ? '' : `\nRefused there, by what the relays heard:\n${refusals.map(refusalLine).join('')}`

const refusalLine = ({ pod, peer, reason, cause, count }: Row): string => {
  const who = peer === undefined || peer === '' ? 'somebody without a name' : cell(peer)
  return `  ${harmless(`${who}: ${cell(reason)}, ${cell(count)} ${count === 1 ? 'time' : 'times'}, at ${cell(pod)}: ${cell(cause)}`)}\n`
}
