import { setTimeout as pause } from 'node:timers/promises'
import { AuthorizationV1Api, KubeConfig } from '@kubernetes/client-node'
import { refusal } from '#cli/failure.ts'
import { ensureEksAccess, type Standing } from '#cli/onboard/eks/eks-access.ts'
import { describeEks, type EksCluster, vpcCidrs } from '#cli/onboard/eks/eks-cluster.ts'
import { eksToken, keptEksToken } from '#cli/onboard/eks/eks-token.ts'
import { type Aws, type AwsAccess, openAws } from '#cli/onboard/eks/open-aws.ts'
import { Problem } from '#mesh/model/problem.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

export type EksTarget = AwsAccess & {
  /** As EKS calls the cluster. */
  readonly name: string
  readonly createAccessEntry: boolean
  /** What a person may read meanwhile. */
  readonly say: (text: string) => void
  readonly now: () => number
}

export type OpenedEks = {
  readonly cluster: EksCluster
  /** Of its VPC; undefined where AWS does not tell (ec2:DescribeVpcs). */
  readonly cidrs: readonly string[] | undefined
  /** Of one context, whose bearer tokens are made from the caller's AWS credentials and renewed. */
  readonly config: KubeConfig
}

/**
 * An EKS cluster and the way to its API server, for `--eks NAME --region R [--profile P]`. Throws `not-found`, `forbidden`
 * with the access entry that is missing, and `conflict` for a cluster that cannot be joined now.
 */
export async function openEks(target: EksTarget): Promise<OpenedEks> {
  const aws = await openAws(target)
  const cluster = await describeEks(aws, target.name)
  const config = eksKubeConfig(aws, cluster, target.now)
  const standing = () => standingOf(config, cluster)
  await ensureEksAccess(aws, cluster, {
    ...{ standing, say: target.say, create: target.createAccessEntry },
    pause: (ms) => pause(ms),
  })
  const cidrs = await cidrsOf(aws, cluster)
  return { cluster, cidrs, config }
}

/** What lacks of a VPC's addresses is told by whoever needs them: nothing else depends on it. */
async function cidrsOf(aws: Aws, { vpc, remoteCidrs }: EksCluster): Promise<readonly string[] | undefined> {
  if (vpc === undefined) return undefined
  try {
    return [...(await vpcCidrs(aws, vpc)), ...remoteCidrs]
  } catch (error) {
    if (error instanceof Problem) return undefined
    throw error
  }
}

/** Throws `conflict` where the cluster has no API server yet, or none any more. */
export function eksKubeConfig(aws: Aws, cluster: EksCluster, now: () => number): KubeConfig {
  const { name, endpoint, ca, status } = cluster
  if (endpoint === undefined || ca === undefined || !['ACTIVE', 'UPDATING'].includes(status))
    throw refusal({
      ...{ kind: 'conflict', on: `EKS cluster ${name}, region ${aws.region}` },
      why: `it is ${status}${endpoint === undefined ? ' and has no API server' : ''}`,
      mend: `aws eks wait cluster-active --region ${aws.region} --name ${shellWord(name)}, then the same again`,
    })
  const token = keptEksToken(() => eksToken(aws, name, now()), now)
  const config = new KubeConfig()
  config.addAuthenticator({
    isAuthProvider: (user) => user.authProvider?.name === 'isthmus-eks',
    applyAuthentication: async (_, options) => {
      options.headers = { ...options.headers, Authorization: `Bearer ${await token()}` }
    },
  })
  config.loadFromOptions({
    clusters: [{ name, server: endpoint, caData: Buffer.from(ca).toString('base64'), skipTLSVerify: false }],
    users: [{ name, authProvider: { name: 'isthmus-eks', config: {} } }],
    contexts: [{ name, cluster: name, user: name }],
    currentContext: name,
  })
  return config
}

/** Throws `unavailable` where the API server does not answer. */
async function standingOf(config: KubeConfig, cluster: EksCluster): Promise<Standing> {
  const everything = { verb: '*', group: '*', resource: '*' }
  const body = { spec: { resourceAttributes: everything } }
  try {
    const api = config.makeApiClient(AuthorizationV1Api)
    const { status } = await api.createSelfSubjectAccessReview({ body })
    return status?.allowed ? 'admin' : 'limited'
  } catch (cause) {
    if (cause instanceof Problem) throw cause
    const { code, message } = cause as { readonly code?: unknown; readonly message?: string }
    if (code === 401) return 'unknown-caller'
    if (code === 403) return 'limited'
    const way = cluster.isPublic
      ? 'look at the way there: publicAccessCidrs of the cluster, proxies, DNS'
      : 'its endpoint is private: call from within its VPC'
    throw refusal({
      ...{ kind: 'unavailable', on: `EKS cluster ${cluster.name}: ${cluster.endpoint}`, mend: way, cause },
      why: `its API server does not answer: ${typeof code === 'number' ? `HTTP ${code}` : (message ?? '').slice(0, 200)}`,
    })
  }
}
