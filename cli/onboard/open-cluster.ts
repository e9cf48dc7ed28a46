import { refusal } from '#cli/failure.ts'
import type { ClusterApi } from '#cli/onboard/cluster-api.ts'
import type { AccessOptions, EksOptions } from '#cli/onboard/options.ts'
import type { Say } from '#cli/onboard/steps.ts'
import type { Tools } from '#cli/tools.ts'

/** A cluster's API server, and the network that is known to be its own: on EKS the VPC. */
export type OpenedCluster = { readonly api: ClusterApi; readonly network?: string }

/**
 * The cluster of a context, or of EKS. The clients are loaded by those commands alone that need them. Throws `invalid` for
 * options that do not go together.
 */
export async function openCluster(
  options: AccessOptions & EksOptions,
  tools: Pick<Tools, 'io'>,
  say: Say,
): Promise<OpenedCluster> {
  const { env, now } = tools.io
  const { clusterApi } = await import('#cli/onboard/cluster-api.ts')
  const { eks: name, region, profile, createAccessEntry = false } = options
  if (name === undefined) {
    if (profile !== undefined || createAccessEntry)
      throw odd(`${profile === undefined ? '--create-access-entry' : '--profile'} is for --eks`, 'add --eks <cluster>')
    const { contextAccess } = await import('#cli/onboard/access.ts')
    return { api: clusterApi(contextAccess(options, env)) }
  }
  if (region === undefined) throw odd('--eks says no region', 'add --region <region>')
  const { openEks } = await import('#cli/onboard/eks/open-eks.ts')
  const { cluster, cidrs, config } = await openEks({
    ...{ name, region, profile, env, now, createAccessEntry },
    say: (text) => say('preflight', text),
  })
  const { vpc } = cluster
  const addresses = cidrs === undefined ? 'its addresses are not known: ec2:DescribeVpcs' : cidrs.join(', ')
  if (vpc !== undefined) say('preflight', `EKS ${name}: network ${vpc} is its VPC (${addresses})`)
  return { api: clusterApi({ config, said: `EKS cluster ${name}` }), ...(vpc === undefined ? {} : { network: vpc }) }
}

const odd = (why: string, mend: string) => refusal({ kind: 'invalid', why, on: 'the command line', mend })
