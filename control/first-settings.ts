import type { AuthorityRow } from '#control/store/authorities.ts'
import type { MeshRow } from '#control/store/meshes.ts'
import type { AuthorityWish } from '#control/trust/make-authority.ts'
import { type MeshName, sharedDomainFault } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'

/** What a mesh begins with: said at its first start, and changed later in other ways. */
export type FirstSettings = {
  /** Absent: a sealed file, P-256. */
  readonly root?: AuthorityWish | undefined
  /** The trust domain of a mesh of before, which its clusters are to share. */
  readonly sharedDomain?: string | undefined
}

/** Throws `invalid` for a trust domain that a mesh of this name cannot share. */
export function parseSharedDomain(text: string, mesh: MeshName, path = 'sharedTrustDomain'): string {
  const domain = parseTrustDomain(text)
  const reason = sharedDomainFault(domain, mesh)
  if (reason === undefined) return domain
  throw new Problem('invalid', `the trust domain "${domain}" cannot be shared in mesh "${mesh}": it ${reason}`, {
    violations: [{ path, reason }],
  })
}

/**
 * What is said at a later start has to be what the mesh began with: a restart changes nobody's identity. Throws `conflict`
 * that says what it began with, and how that is changed.
 */
export function checkLaterStart(
  { root, sharedDomain }: FirstSettings,
  { mesh, authorities }: { readonly mesh: MeshRow; readonly authorities: readonly AuthorityRow[] },
): void {
  if (sharedDomain !== undefined && sharedDomain !== mesh.sharedDomain)
    throw unchanged(
      `--shared-trust-domain ${sharedDomain}`,
      mesh.sharedDomain === null
        ? `mesh "${mesh.name}" began with a trust domain for each cluster`
        : `mesh "${mesh.name}" began with the shared trust domain ${mesh.sharedDomain}`,
      'certificates and policies of living clusters name theirs. Leave the setting out, and give single clusters another ' +
        'one when they are created: isthmus cluster create <name> --trust-domain <trust domain>',
    )
  const first = authorities.find((row) => row.kind === 'root' && (row.number ?? 1) === 1)
  if (!root || root.where === 'plugged' || !first) return
  const fault = rootFault(root, first)
  if (fault !== undefined)
    throw unchanged(
      root.where === 'file' ? '--root-curve' : '--root-key',
      `the root that mesh "${mesh.name}" began with ${fault}`,
      'a root is changed by rotation: leave the setting out, and run isthmus trust rotate-root --where <place> --curve <curve>',
    )
}

function rootFault(asked: Exclude<AuthorityWish, { where: 'plugged' }>, row: AuthorityRow): string | undefined {
  const { kind } = parseCertificate(row.certificate).publicKey
  if (asked.where === 'file' && !row.keyRef.startsWith('file:')) return `has its key in ${row.keyRef}`
  // An alias names one key today and another tomorrow; it was followed once.
  const isAlias = asked.where.includes(':alias/')
  if (asked.where !== 'file' && (isAlias ? !row.keyRef.startsWith('kms:') : row.keyRef !== asked.where))
    return `has its key in ${row.keyRef}`
  return asked.curve !== undefined && asked.curve !== kind ? `is ${kind}` : undefined
}

const unchanged = (setting: string, began: string, way: string): Problem =>
  new Problem('conflict', `${setting} is a setting of the first start, and ${began}: ${way}`)
