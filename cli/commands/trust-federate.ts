import type { Command } from 'commander'
import { mended } from '#cli/commands/cluster.ts'
import { refusal } from '#cli/failure.ts'
import { type Format, render } from '#cli/output.ts'
import { readBounded } from '#cli/read-bounded.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { foreignText } from '#cli/trust/foreign-text.ts'
import { isMeasured, revocationText, untilMeasured } from '#cli/trust/revoke.ts'
import { parseForeign, parseRevocation } from '#cli/trust/shapes.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { foreignBundleBytesMax } from '#mesh/trust/foreign-bundle.ts'

type Federate = { readonly filename: string; readonly dryRun?: true; readonly output: Format }
type Unfederate = { readonly reason: string; readonly follow: boolean; readonly output: Format }

/** As for a revocation: old connections are closed after 20 s of drain. */
const withinMs = 45_000

const pathOf = (trustDomain: string): string => `/v1/foreign-domains/${encodeURIComponent(trustDomain)}`

/** `trust federate` and `trust unfederate`: another mesh's roots, in and out. */
export function federateCommands(trust: Command, tools: Tools): void {
  const { print, io, paint } = tools
  trust
    .command('federate')
    .description('believes another mesh: its workloads may be admitted by name; again with newer roots, these count')
    .argument('<trust-domain>', 'the other mesh’s, e.g. partner.example')
    .requiredOption('-f, --filename <file>', 'its SPIFFE bundle (JSON), or PEM with its roots (- = standard input)')
    .option('--dry-run', 'judges it and changes nothing')
    .addOption(outputOption())
    .action(async (trustDomain: string, { filename, dryRun, output }: Federate) => {
      const bundle = readText(filename)
      const path = `${pathOf(trustDomain)}${dryRun ? '?dryRun=true' : ''}`
      const mends = { invalid: 'correct what is named here, or ask the other mesh for it; --dry-run judges it again' }
      const answer = await mended(tools.centre(), { method: 'PUT', path, body: { bundle } }, mends)
      const seen = parseForeign(answer.body)
      if (output !== 'table') return print(render({ rows: [seen], columns: [], single: true }, output, io.now()))
      print(foreignText(seen, { now: io.now(), paint, isNew: answer.status === 201, isRehearsal: dryRun === true }))
    })
  trust
    .command('unfederate')
    .description('believes another mesh no more: nobody of it is let in, and what it has open ends')
    .argument('<trust-domain>')
    .requiredOption('--reason <text>', 'why; stands in the audit log')
    .option('--no-follow', 'ends at once; the times are in: isthmus trust show')
    .addOption(outputOption())
    .action(async (trustDomain: string, { reason, follow, output }: Unfederate) => {
      const to = tools.centre()
      const path = `${pathOf(trustDomain)}?reason=${encodeURIComponent(reason)}`
      const { status, body } = await mended(to, { method: 'DELETE', path }, {})
      if (status === 204)
        throw refusal({
          ...{ kind: 'not-found', why: `"${trustDomain}" is not federated`, on: 'isthmus trust unfederate' },
          mend: 'isthmus get foreign-domains',
        })
      const first = parseRevocation(body)
      const seen = follow ? await untilMeasured(to, first, { withinMs }) : first
      const text = () => render({ rows: [seen], columns: [], single: true }, output, io.now())
      print(output === 'table' ? revocationText(seen) : text())
      if (follow && !isMeasured(seen)) tools.exitWith(1)
    })
}

/** Throws `not-found` or `invalid` that names the file; what is in it the centre judges. */
function readText(file: string): string {
  let bytes: Buffer
  try {
    bytes = readBounded(file === '-' ? 0 : file, foreignBundleBytesMax)
  } catch (cause) {
    const mend = 'give -f <file>, what the other mesh gave, or - for standard input'
    throw refusal({ kind: 'not-found', why: `it cannot be read: ${fileFault(cause)}`, on: file, mend, cause })
  }
  const fault =
    bytes.length > foreignBundleBytesMax
      ? `it has more than ${foreignBundleBytesMax} bytes, which is the most that is taken`
      : bytes.includes(0)
        ? 'this is no text: roots in DER are not taken'
        : undefined
  if (fault === undefined) return bytes.toString('utf8')
  throw refusal({ kind: 'invalid', why: fault, on: file, mend: 'give a SPIFFE bundle (JSON), or PEM' })
}
