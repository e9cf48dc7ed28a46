import { cidrsOverlap } from '#mesh/model/cidr.ts'
import { labelFault, newClusterNameFault, parseClusterName } from '#mesh/model/id.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

/** An EKS cluster as its region told of it; what could not be read is absent, and `unknown` says why. */
export type SeenCluster = {
  readonly name: string
  readonly region: string
  readonly status?: string
  readonly version?: string
  readonly issuer?: string
  readonly vpc?: string
  /** Where its nodes and pods have their addresses; undefined = not known. */
  readonly cidrs?: readonly string[]
  readonly serviceCidr?: string
  readonly isPublic?: boolean
  readonly tags?: Readonly<Record<string, string>>
  readonly unknown: readonly string[]
}

/** Of a member, what the centre says. */
export type MemberFact = {
  readonly name: string
  readonly state: string
  readonly region: string
  readonly network: string
}

export type Overlap = {
  /** As it is called in the mesh; one that is no member as EKS calls it, with its region. */
  readonly cluster: string
  readonly cidr: string
  readonly with: string
  /** It is a member, or a cluster of this list. */
  readonly member: boolean
}

export type DiscoveredCluster = Omit<SeenCluster, 'vpc'> & {
  /** Its name in the mesh: what it has, or would be given. */
  readonly cluster: string
  /** `no` where the mesh has none such; `unknown` where the centre did not say. */
  readonly member: string
  readonly network?: string
  readonly overlaps: readonly Overlap[]
  /** For those that can join. */
  readonly join?: string
}

/**
 * What there is to say of each cluster beside the members: which it is of them, whose addresses overlap with its own, and
 * what makes it a member. `members` undefined = the centre did not say.
 *
 * Clusters of one VPC are one network and share their addresses rightly. Addresses that overlap in two networks are no
 * fault: calls between networks go from gateway to gateway. They forbid to make one network of both.
 */
export function discoveredOf(
  seen: readonly SeenCluster[],
  members: readonly MemberFact[] | undefined,
  joinMore = '',
): DiscoveredCluster[] {
  const named = namesOf(seen, members ?? [])
  return seen.map((one, at) => {
    const { cluster, member } = named[at] ?? { cluster: one.name, member: undefined }
    const { vpc, ...rest } = one
    const network = member?.network || vpc
    const isFree = member === undefined || member.state !== 'joined'
    const canJoin = isFree && members !== undefined && ['ACTIVE', 'UPDATING'].includes(one.status ?? '')
    return {
      ...{ ...rest, cluster, overlaps: overlapsOf(one, seen, named) },
      member: member?.state ?? (members === undefined ? 'unknown' : 'no'),
      ...(network === undefined ? {} : { network }),
      ...(canJoin ? { join: joinCommand(cluster, one, joinMore) } : {}),
    }
  })
}

const joinCommand = (cluster: string, { name, region }: SeenCluster, more: string): string =>
  `isthmus cluster join ${cluster} --eks ${shellWord(name)} --region ${region}${more}`

type Named = { readonly cluster: string; readonly member: MemberFact | undefined }

/**
 * A name for each: its own where the mesh takes it, and with its region behind it where it is another's. Members are known
 * by name and place; a member of this name in another region or VPC is another cluster.
 */
function namesOf(seen: readonly SeenCluster[], members: readonly MemberFact[]): Named[] {
  const taken = new Set<string>()
  return seen.map((one) => {
    const names = [meshName(one.name), meshName(`${one.name}-${one.region}`)]
    const member = members.find((known) => names.includes(known.name) && !taken.has(known.name) && isAt(known, one))
    const cluster =
      member?.name ??
      names.find((name) => !taken.has(name) && !members.some((known) => known.name === name)) ??
      meshName(`${one.name}-${one.region}-2`)
    taken.add(cluster)
    return { cluster, member }
  })
}

function isAt({ region, network }: MemberFact, seen: SeenCluster): boolean {
  if (region !== '' && region !== seen.region) return false
  return !/^vpc-/.test(network) || seen.vpc === undefined || network === seen.vpc
}

/** EKS takes capitals, underscores and a hundred characters; the mesh takes DNS labels with room for generations. */
export function meshName(name: string): string {
  const plain = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, '-')
    .slice(0, 57)
    .replaceAll(/^-+|-+$/g, '')
  if (labelFault(plain)) return 'cluster-1'
  return newClusterNameFault(parseClusterName(plain)) ? `${plain.slice(0, 54)}-eks` : plain
}

function overlapsOf(one: SeenCluster, seen: readonly SeenCluster[], named: readonly Named[]): Overlap[] {
  return seen.flatMap((other, at) => {
    if (other === one || (one.vpc !== undefined && one.vpc === other.vpc)) return []
    const { cluster, member } = named[at] ?? { cluster: other.name, member: undefined }
    const isMember = member?.state === 'joined'
    return (one.cidrs ?? []).flatMap((cidr) =>
      (other.cidrs ?? [])
        .filter((theirs) => cidrsOverlap(cidr, theirs))
        .map((theirs) => ({
          ...{ cluster: isMember ? cluster : `${other.name}/${other.region}`, cidr, with: theirs, member: isMember },
        })),
    )
  })
}
