import { Problem } from '#mesh/model/problem.ts'
import { parseCertificate } from '#mesh/trust/certificate.ts'

/** The URI by which a proxy knows its relay, and so the trust domain that both are of. */
export type RelayName = {
  uri(): string
  trustDomain(): string
  /**
   * Why a relay that shows this certificate (DER) is not ours; undefined where it is. The chain is verified by TLS
   * before; the URI decides, because every relay of a mesh has its certificate from the same CA.
   */
  readonly fault: (der: Uint8Array) => Problem | undefined
}

/**
 * Begins as `uri`. A relay of the same cluster's next generation (`alpha-g2.mesh1` after `alpha.mesh1`) is ours as well:
 * the cluster got a new trust domain while this program ran. From then on that is its name, and an older one is refused.
 */
export function relayName(uri: string, cluster: string): RelayName {
  let current = { uri, trustDomain: trustDomainOf(uri) }
  return {
    uri: () => current.uri,
    trustDomain: () => current.trustDomain,
    fault: (der) => {
      const names = uriNamesOf(der)
      const [shown, ...more] = names
      if (shown !== undefined && more.length === 0) {
        if (shown === current.uri) return undefined
        if (isLater(shown, current.uri, cluster)) {
          current = { uri: shown, trustDomain: trustDomainOf(shown) }
          return undefined
        }
      }
      return new Problem(
        'forbidden',
        `the relay shows a certificate for ${names.join(', ') || 'no URI'}, expected is ${current.uri}: either its address ` +
          'leads to another cluster (mend --relay), or this cluster has another trust domain (mend --relay-uri)',
      )
    },
  }
}

const trustDomainOf = (uri: string): string => uri.replace(/^spiffe:\/\//, '').replace(/\/.*$/, '')

/** Both of the same cluster and mesh, and the first of a later generation. */
function isLater(shown: string, before: string, cluster: string): boolean {
  const [one, two] = [partsOf(shown, cluster), partsOf(before, cluster)]
  return one !== undefined && two !== undefined && one.rest === two.rest && one.generation > two.generation
}

function partsOf(uri: string, cluster: string): { generation: number; rest: string } | undefined {
  const [, label = '', rest = ''] = /^spiffe:\/\/([^./]+)(\..*)$/.exec(uri) ?? []
  if (label === cluster) return { generation: 1, rest }
  const generation = label.startsWith(`${cluster}-g`) ? label.slice(cluster.length + 2) : ''
  return /^[1-9][0-9]{0,5}$/.test(generation) ? { generation: Number(generation), rest } : undefined
}

function uriNamesOf(der: Uint8Array): readonly string[] {
  try {
    return parseCertificate(der).names.flatMap((name) => (name.kind === 'uri' ? [name.text] : []))
  } catch {
    return []
  }
}
