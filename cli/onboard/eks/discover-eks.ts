import type { SeenCluster } from '#cli/onboard/eks/discovered.ts'
import { describeEks, type EksCluster, eksNames, vpcCidrs } from '#cli/onboard/eks/eks-cluster.ts'
import { type Aws, type AwsAccess, openAws } from '#cli/onboard/eks/open-aws.ts'
import { Problem } from '#mesh/model/problem.ts'

export type Wanted = Omit<AwsAccess, 'region'> & {
  readonly regions: readonly string[]
  /** Only clusters with all of them. */
  readonly tags: Readonly<Record<string, string>>
}

/** A region that told all there is, in the order of names, or what it failed with. */
export type RegionSeen = {
  readonly region: string
  readonly clusters: readonly SeenCluster[]
  /** Nothing is known of this region; its clusters are not "none". */
  readonly problem?: Problem
}

/** AWS allows an account few calls a second; more at once would only be throttled. */
const atOnce = 4

/**
 * The clusters of all regions, each asked by itself: one that fails hides nothing of the others. A cluster that cannot be
 * described is in the list all the same, with the reason, whatever tags were asked for. Throws only for what cannot be
 * asked at all.
 */
export async function discoverEks({ regions, tags, ...access }: Wanted): Promise<readonly RegionSeen[]> {
  const opened = await Promise.all(regions.map((region) => openAws({ ...access, region })))
  return Promise.all(
    opened.map(async (aws) => {
      try {
        return { region: aws.region, clusters: await clustersOf(aws, tags) }
      } catch (error) {
        if (error instanceof Problem) return { region: aws.region, clusters: [], problem: error }
        throw error
      } finally {
        aws.eks.destroy()
      }
    }),
  )
}

async function clustersOf(aws: Aws, tags: Wanted['tags']): Promise<readonly SeenCluster[]> {
  const seen = await eachOf(await eksNames(aws), (name) => described(aws, name))
  const wanted = seen.filter((one) => one.tags === undefined || hasAll(one.tags, tags))
  const vpcs = [...new Set(wanted.flatMap(({ vpc }) => vpc ?? []))]
  const ranges = new Map(await eachOf(vpcs, async (vpc) => [vpc, await rangesOf(aws, vpc)] as const))
  return wanted.map((one) => {
    const found = one.vpc === undefined ? undefined : ranges.get(one.vpc)
    if (found === undefined) return one
    if (found instanceof Problem)
      return { ...one, unknown: [...one.unknown, `the addresses of ${one.vpc}: ${found.message}`] }
    return { ...one, cidrs: [...found, ...(one.cidrs ?? [])] }
  })
}

const hasAll = (tags: Readonly<Record<string, string>>, wanted: Wanted['tags']): boolean =>
  Object.entries(wanted).every(([key, value]) => tags[key] === value)

async function described(aws: Aws, name: string): Promise<SeenCluster> {
  try {
    return seenFrom(await describeEks(aws, name))
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    return { name, region: aws.region, unknown: [error.message] }
  }
}

/** What a list shows; of its CA and of how one logs in there, nothing. */
function seenFrom(cluster: EksCluster): SeenCluster {
  const { name, region, status, version, isPublic, tags, issuer, vpc, serviceCidr, remoteCidrs } = cluster
  return {
    ...{ name, region, status, version },
    ...(issuer === undefined ? {} : { issuer }),
    ...(vpc === undefined ? {} : { vpc }),
    ...(serviceCidr === undefined ? {} : { serviceCidr }),
    ...{ isPublic, tags },
    ...(remoteCidrs.length === 0 ? {} : { cidrs: remoteCidrs }),
    unknown: [],
  }
}

async function rangesOf(aws: Aws, vpc: string): Promise<readonly string[] | Problem> {
  try {
    return await vpcCidrs(aws, vpc)
  } catch (error) {
    if (error instanceof Problem) return error
    throw error
  }
}

/** In their order, some at a time. */
async function eachOf<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let at = 0; at < all.length; at += atOnce)
    results.push(...(await Promise.all(all.slice(at, at + atOnce).map(work))))
  return results
}
