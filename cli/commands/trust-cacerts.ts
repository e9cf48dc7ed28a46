import { resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { z } from 'zod'
import { mended } from '#cli/commands/cluster.ts'
import { refusal } from '#cli/failure.ts'
import type { Tools } from '#cli/tools.ts'
import { checkFree, newCaKey, writeCacerts } from '#cli/trust/cacerts.ts'

const answerSchema = z.object({
  ...{ certificate: z.string(), chain: z.string(), roots: z.string(), notAfter: z.string() },
  ...{ trustDomain: z.string(), mesh: z.string(), confined: z.boolean() },
})

/** `trust export-cacerts`: a CA for an istiod that stays in a cluster. */
export function cacertsCommand(trust: Command, tools: Tools): void {
  trust
    .command('export-cacerts')
    .description(
      'a CA for an istiod that stays in a cluster, with the files of its Secret cacerts; the key is made here',
    )
    .argument('<cluster>')
    .addOption(new Option('--out <directory>', 'writes four PEM files, mode 0600').conflicts('secret'))
    .option('--secret <file>', 'writes the Secret as YAML, mode 0600')
    .option('--days <number>', 'how long it lives, 365 at most; nobody renews it by itself', '90')
    .action(async (cluster: string, options: { out?: string; secret?: string; days: string }) => {
      const place =
        options.secret === undefined ? options.out && { dir: resolve(options.out) } : { file: resolve(options.secret) }
      if (!place)
        throw refusal({
          ...{ kind: 'invalid', why: 'where to? A key is never printed', on: 'the command line' },
          mend: `isthmus trust export-cacerts ${cluster} --secret <file>`,
        })
      checkFree(place)
      const { keyPem, csr } = newCaKey()
      const path = `/v1/clusters/${encodeURIComponent(cluster)}/istiod-ca`
      const call = { method: 'POST', path, body: { csr, days: Number(options.days) } }
      const mends = { 'not-found': 'isthmus get clusters', conflict: `isthmus get clusters ${cluster}` }
      const made = answerSchema.parse((await mended(tools.centre(), call, mends)).body)
      writeCacerts(place, {
        ...{ 'ca-cert.pem': made.certificate, 'ca-key.pem': keyPem },
        ...{ 'cert-chain.pem': made.chain, 'root-cert.pem': made.roots },
      })
      const loose = `UNCONFINED: the trust domain is shared, and it can speak for every identity of it\n`
      tools.print(
        `${'file' in place ? place.file : place.dir} holds the CA of cluster ${cluster}'s istiod, until ${made.notAfter}.\n` +
          `${made.confined ? '' : loose}` +
          `The istiod needs in its meshConfig:\n  trustDomain: ${made.trustDomain}\nand as Helm value:\n  global.meshID: ${made.mesh}\n`,
      )
    })
}
