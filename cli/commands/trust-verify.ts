import { type Command, Option } from 'commander'
import { askRelays } from '#cli/ask-relays.ts'
import { callCentre, listAll } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { type Format, type Row, render } from '#cli/output.ts'
import { readBounded } from '#cli/read-bounded.ts'
import { outputOption, type Tools } from '#cli/tools.ts'
import { parseTrust } from '#cli/trust/shapes.ts'
import { shownChain } from '#cli/trust/shown-chain.ts'
import { distinct, type Expected, verifyChain } from '#cli/trust/verify.ts'
import { refusalsIn, refusalsText, verifiedText } from '#cli/trust/verify-text.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { type Certificate, parseCertificates } from '#mesh/trust/certificate.ts'
import { type ProfileName, profiles } from '#mesh/trust/profile.ts'

type VerifyOptions = {
  readonly as?: ProfileName
  readonly domain?: string
  readonly roots?: string
  readonly serverName?: string
  readonly output: Format
}

const pemBytesMax = 256 << 10

/** `trust verify`: which rule a certificate fails, before a proxy says only that it was refused. */
export function verifyCommand(trust: Command, tools: Tools): void {
  trust
    .command('verify')
    .description('judges a certificate, rule by rule, as the mesh does')
    .argument('<pem|host:port>', 'a file with a chain, its own certificate first; or a TLS server to look at')
    .addOption(new Option('--as <kind>', 'what it is to be').choices(Object.keys(profiles)))
    .option('--domain <trust-domain>', 'that it must be of')
    .option('--roots <file>', 'PEM of the roots to believe; then no centre is asked')
    .option('--server-name <name>', 'SNI to dial a server with')
    .addOption(outputOption())
    .action(async (from: string, options: VerifyOptions) => {
      const { io, paint, print } = tools
      const dial = dialOf(from, options.serverName)
      const chain = dial ? await shownChain(dial) : readChain(from)
      const centre = options.roots === undefined ? tools.centre() : undefined
      const facts = centre ? await factsOf(centre) : { roots: readChain(options.roots ?? '') }
      const { as, domain } = options
      const wanted = { ...(as ? { as } : {}), ...(domain === undefined ? {} : { domain }) }
      const verified = verifyChain(chain, { ...facts, ...wanted, now: new Date(io.now()) })
      const refusals = centre && dial ? await refusalsAt(centre, from) : []
      if (verified.verdicts.some(({ faults }) => faults.length > 0)) tools.exitWith(1)
      if (options.output !== 'table') {
        const row = { from, ...verified, refusals }
        return print(render({ rows: [row], columns: [], single: true }, options.output, io.now()))
      }
      print(verifiedText(chain[0], verified, { now: io.now(), from, paint }))
      print(refusalsText(refusals))
    })
}

function dialOf(text: string, serverName: string | undefined) {
  const [, host, port] = /^(?:\[([^\]]+)\]|([^:/]+)):(\d{1,5})$/.exec(text)?.filter((one) => one !== undefined) ?? []
  if (host === undefined || !(Number(port) > 0 && Number(port) < 65_536)) return undefined
  return { host, port: Number(port), ...(serverName === undefined ? {} : { serverName }) }
}

/** Throws `not-found` or `invalid` that names the file. */
function readChain(file: string): readonly [Certificate, ...Certificate[]] {
  let text: string
  try {
    text = readBounded(file, pemBytesMax).toString('utf8')
  } catch (cause) {
    const mend = 'name a PEM file, or <host>:<port> of a TLS server'
    throw refusal({ kind: 'not-found', why: `it cannot be read: ${fileFault(cause)}`, on: file, mend, cause })
  }
  try {
    const [own, ...more] = distinct(parseCertificates(text, 'the chain', 16))
    if (own) return [own, ...more]
    throw new Error('it holds none')
  } catch (cause) {
    const why = `this is not judged: ${(cause as Error).message}`
    throw refusal({ kind: 'invalid', why, on: file, mend: 'give a PEM with certificates, the own one first', cause })
  }
}

/** The mesh's authorities that are believed now, and who its members are. */
async function factsOf(centre: Centre): Promise<Pick<Expected, 'roots' | 'members' | 'foreign'>> {
  const [authorities, { body }] = await Promise.all([
    listAll(centre, '/v1/authorities'),
    callCentre(centre, { method: 'GET', path: '/v1/trust' }),
  ])
  const { clusters, revoked, foreign } = parseTrust(body)
  const believed = authorities.filter(({ state }) => ['published', 'active', 'tainted'].includes(String(state)))
  return {
    roots: believed.flatMap(({ certificate }) => parseCertificates(String(certificate), 'an authority', 8)),
    foreign: foreign.map(({ trustDomain, roots, admittedBy }) => ({
      ...{ trustDomain, admittedBy },
      roots: roots.flatMap(({ certificate }) => parseCertificates(certificate, 'a foreign root')),
    })),
    members: {
      admitted: clusters.filter(({ state }) => state === 'joined').map(({ trustDomain }) => trustDomain),
      revoked: revoked.map((one) => String(one['trustDomain'] ?? '')),
    },
  }
}

/** What relays of this context have heard of handshakes that were refused at that address. */
const refusalsAt = async (centre: Centre, address: string): Promise<readonly Row[]> =>
  refusalsIn(await askRelays(centre), address)
