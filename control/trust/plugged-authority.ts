import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { codeOf } from '#control/keys/new-file.ts'
import { type KeyRing, type MadeKey, sealGiven } from '#control/keys/open-signer.ts'
import { readPluggedKey } from '#control/keys/plugged-key.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import type { KnownAuthority } from '#mesh/trust/authority-faults.ts'
import { type Certificate, certificatePem, parseCertificate } from '#mesh/trust/certificate.ts'
import { checkPluggedCa, type PluggedFiles, pluggedBytesMax, pluggedFiles } from '#mesh/trust/check-plugged-ca.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

export type PluggedAsked = {
  /** Directory of `ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`, or of a root alone. */
  readonly dir: string
  readonly mesh: MeshName
  /** A trust domain that clusters of the mesh will have. */
  readonly trustDomain?: string | undefined
  readonly number: number
  readonly now: number
  /** Authorities that are there already. */
  readonly known: readonly KnownAuthority[]
}

/**
 * The CA in a directory as an authority of this mesh: checked as a whole, its key then sealed as every other. The files are
 * not needed any more after that. Throws `invalid` with every fault of every file, and what sealing throws.
 */
export async function takePluggedCa(
  asked: PluggedAsked,
  ring: KeyRing,
): Promise<MadeKey & { readonly certificate: Certificate; readonly chain: readonly Certificate[] }> {
  const { dir, mesh, now, known, number } = asked
  const { files, faults } = readFiles(dir)
  const held = readPluggedKey(join(dir, 'ca-key.pem'))
  const { certificate, chain, violations } = checkPluggedCa(files, {
    ...{ now: new Date(now), below: 1, known, key: held.spki },
    // Any cluster's: constraints above that let none through are found here and not at the first join.
    trustDomain: parseTrustDomain(asked.trustDomain ?? `cluster.${mesh}`),
  })
  const all = [...faults, ...violations, ...held.faults.map((reason) => ({ path: 'ca-key.pem', reason }))]
  if (all.length > 0 || !certificate || !held.key) throw refused(dir, all)
  // Under a name of its own: a root that is made after an attempt that was cut off must not come to use this key.
  return { ...(await sealGiven(held.key, `plugged-root-${number}.key`, ring)), certificate, chain }
}

/** Whether the CA in a directory is one of these authorities (PEM); also where there is none that can be read. */
export function isTaken(dir: string, authorities: readonly string[]): boolean {
  const { files } = readFiles(dir)
  try {
    const pem = certificatePem(parseCertificate(files['ca-cert.pem'] ?? files['root-cert.pem'] ?? ''))
    return authorities.includes(pem)
  } catch {
    return true
  }
}

/** Past `pluggedBytesMax` a file is refused with its size; past this it is not read at all. */
const readBytesMax = 4 * 1024 * 1024

function readFiles(dir: string): { readonly files: PluggedFiles; readonly faults: readonly Violation[] } {
  const faults: Violation[] = []
  const files: { [file in (typeof pluggedFiles)[number]]?: string } = {}
  for (const file of pluggedFiles) {
    try {
      const path = join(dir, file)
      const { size } = statSync(path)
      if (size > readBytesMax) faults.push({ path: file, reason: `has ${size} bytes; at most ${pluggedBytesMax}` })
      else files[file] = readFileSync(path, 'utf8')
    } catch (cause) {
      if (codeOf(cause) !== 'ENOENT') faults.push({ path: file, reason: `cannot be read: ${codeOf(cause)}` })
    }
  }
  return { files, faults }
}

function refused(dir: string, violations: readonly Violation[]): Problem {
  const lines = violations.map(({ path, reason }) => `\n  ${path} ${reason}`).join('')
  const count = violations.length === 1 ? 'one fault' : `${violations.length} faults`
  return new Problem('invalid', `the CA in ${dir} is not taken, for ${count}:${lines}`, { violations })
}
