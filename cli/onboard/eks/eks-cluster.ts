import type { Cluster } from '@aws-sdk/client-eks'
import { refusal } from '#cli/failure.ts'
import { type Aws, called } from '#cli/onboard/eks/open-aws.ts'
import { askQuery, textsIn } from '#cli/onboard/eks/signed-query.ts'

/** What EKS says of a cluster. Absent is what it does not have (yet): one that is being created has no endpoint. */
export type EksCluster = {
  readonly name: string
  readonly region: string
  readonly arn: string
  /** ACTIVE, CREATING, DELETING, FAILED, UPDATING, PENDING. */
  readonly status: string
  readonly version: string
  readonly endpoint?: string
  /** PEM. */
  readonly ca?: string
  readonly issuer?: string
  readonly vpc?: string
  readonly serviceCidr?: string
  /** Of nodes and pods that stand outside the VPC (hybrid nodes). */
  readonly remoteCidrs: readonly string[]
  /** API, API_AND_CONFIG_MAP or CONFIG_MAP; undefined = CONFIG_MAP, as old clusters have it. */
  readonly authentication?: string
  readonly isPublic: boolean
  readonly tags: Readonly<Record<string, string>>
}

/** More than a thousand pages of names is no list of clusters. */
const pagesMax = 1000

/** The names of all clusters of the region. Throws where a page fails: a part of a list is no list. */
export async function eksNames(aws: Aws): Promise<readonly string[]> {
  const { ListClustersCommand } = await import('@aws-sdk/client-eks')
  const names = new Set<string>()
  const seen = new Set<string>()
  let nextToken: string | undefined
  for (let page = 0; page < pagesMax; page++) {
    const asked = nextToken === undefined ? {} : { nextToken }
    const answer = await called(aws, { action: 'eks:ListClusters' }, () => aws.eks.send(new ListClustersCommand(asked)))
    for (const name of answer.clusters ?? []) names.add(name)
    if (!answer.nextToken) return [...names].toSorted()
    if (seen.has(answer.nextToken)) break
    seen.add(answer.nextToken)
    nextToken = answer.nextToken
  }
  throw refusal({
    ...{ kind: 'unavailable', why: 'AWS lists the clusters without an end: the same page came again' },
    ...{ on: `AWS, region ${aws.region}`, mend: 'repeat the command' },
  })
}

/** One cluster. Throws `not-found`, and as `awsFault` says. */
export async function describeEks(aws: Aws, name: string): Promise<EksCluster> {
  const { DescribeClusterCommand } = await import('@aws-sdk/client-eks')
  const said = { action: 'eks:DescribeCluster', on: `EKS cluster ${name}` }
  const { cluster } = await called(aws, said, () => aws.eks.send(new DescribeClusterCommand({ name })))
  return parseEksCluster(aws.region, name, cluster ?? {})
}

function parseEksCluster(region: string, name: string, said: Cluster): EksCluster {
  const ca = said.certificateAuthority?.data
  const { remoteNodeNetworks = [], remotePodNetworks = [] } = said.remoteNetworkConfig ?? {}
  return {
    ...{ name, region, arn: said.arn ?? '', status: said.status ?? 'UNKNOWN', version: said.version ?? '' },
    ...given('endpoint', said.endpoint),
    ...given('ca', ca ? Buffer.from(ca, 'base64').toString('utf8') : undefined),
    ...given('issuer', said.identity?.oidc?.issuer),
    ...given('vpc', said.resourcesVpcConfig?.vpcId),
    ...given('serviceCidr', said.kubernetesNetworkConfig?.serviceIpv4Cidr),
    ...given('serviceCidr', said.kubernetesNetworkConfig?.serviceIpv6Cidr),
    remoteCidrs: [...(remoteNodeNetworks ?? []), ...(remotePodNetworks ?? [])].flatMap((one) => one.cidrs ?? []),
    ...given('authentication', said.accessConfig?.authenticationMode),
    isPublic: said.resourcesVpcConfig?.endpointPublicAccess ?? false,
    tags: said.tags ?? {},
  }
}

const given = <K extends string>(key: K, value: string | undefined): { readonly [P in K]?: string } =>
  (value ? { [key]: value } : {}) as { readonly [P in K]?: string }

/** The CIDRs of a VPC, where pods have their addresses on EKS. Throws as `awsFault` says. */
export async function vpcCidrs(aws: Aws, vpc: string): Promise<readonly string[]> {
  const asked = { action: 'DescribeVpcs', params: { 'VpcId.1': vpc }, on: `VPC ${vpc}` }
  const xml = await askQuery(aws, { service: 'ec2', ...asked })
  return [...new Set([...textsIn(xml, 'cidrBlock'), ...textsIn(xml, 'ipv6CidrBlock')])].toSorted()
}
