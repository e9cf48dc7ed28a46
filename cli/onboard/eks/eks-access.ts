import { refusal } from '#cli/failure.ts'
import { awsFault } from '#cli/onboard/eks/aws-fault.ts'
import type { EksCluster } from '#cli/onboard/eks/eks-cluster.ts'
import { type Aws, called } from '#cli/onboard/eks/open-aws.ts'
import { askQuery, textsIn } from '#cli/onboard/eks/signed-query.ts'
import { Problem } from '#mesh/model/problem.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

/**
 * What an API server makes of a caller. `unknown-caller`: it does not know him (401); `limited`: it does, and he may not
 * do everything; `admin`: he may.
 */
export type Standing = 'unknown-caller' | 'limited' | 'admin'

export type AccessParts = {
  /** Asks the API server. */
  readonly standing: () => Promise<Standing>
  readonly pause: (ms: number) => Promise<void>
  readonly say: (text: string) => void
}

const adminPolicy = (arn: string): string =>
  `${arn.split(':').slice(0, 2).join(':')}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy`

/** An entry acts within seconds; AWS promises no time. */
const entryMs = 2000
const entryTries = 45

/**
 * Makes sure that the API server knows this caller. Where no access entry does so: throws `forbidden` with the very
 * commands that add one, or with `create` adds it (administrator of the cluster, as the installation of cluster-wide
 * roles needs) and waits until it acts. Running it again changes nothing.
 */
export async function ensureEksAccess(
  aws: Aws,
  cluster: EksCluster,
  { create, ...parts }: AccessParts & { readonly create: boolean },
): Promise<void> {
  const before = await parts.standing()
  if (before === 'admin' || (before === 'limited' && !create)) return
  const principal = await principalOf(aws)
  const commands = entryCommands(aws, cluster, principal)
  const on = `EKS cluster ${cluster.name}, region ${aws.region}`
  if (cluster.authentication === undefined || cluster.authentication === 'CONFIG_MAP')
    throw refusal({
      ...{ kind: 'forbidden', why: `its API server does not know ${principal}, and it takes no access entries`, on },
      mend:
        `${awsCommand(aws, 'update-cluster-config')} --name ${shellWord(cluster.name)} ` +
        '--access-config authenticationMode=API_AND_CONFIG_MAP, then the same again; or have the principal added to the ' +
        'ConfigMap kube-system/aws-auth',
    })
  if (!create) {
    const why = (await hasEntry(aws, cluster, principal))
      ? `its API server does not know ${principal} though it has an access entry: one just made acts within a minute`
      : `its API server does not know ${principal}: it has no access entry`
    throw refusal({ kind: 'forbidden', why, on, mend: `add --create-access-entry, or: ${commands.join(' && ')}` })
  }
  await createEntry(aws, cluster, principal)
  parts.say(`access entry of ${principal} made; waiting until the API server takes it`)
  for (let tries = 0; tries < entryTries; tries++) {
    if ((await parts.standing()) === 'admin') return
    await parts.pause(entryMs)
  }
  throw refusal({
    ...{ kind: 'unavailable', on, mend: `repeat the command; ${awsCommand(aws, 'list-associated-access-policies')}` },
    why: `the access entry of ${principal} was made, and the API server does not act on it yet`,
  })
}

const awsCommand = ({ region, profile }: Aws, verb: string): string =>
  `aws eks ${verb} --region ${region}${profile === undefined ? '' : ` --profile ${shellWord(profile)}`}`

/** The entry, as a person adds it. */
export function entryCommands(aws: Aws, cluster: Pick<EksCluster, 'name' | 'arn'>, principal: string): string[] {
  const whose = `--cluster-name ${shellWord(cluster.name)} --principal-arn ${shellWord(principal)}`
  return [
    `${awsCommand(aws, 'create-access-entry')} ${whose}`,
    `${awsCommand(aws, 'associate-access-policy')} ${whose} --policy-arn ${adminPolicy(cluster.arn)} --access-scope type=cluster`,
  ]
}

async function hasEntry(aws: Aws, { name }: EksCluster, principalArn: string): Promise<boolean | undefined> {
  const { DescribeAccessEntryCommand } = await import('@aws-sdk/client-eks')
  try {
    await aws.eks.send(new DescribeAccessEntryCommand({ clusterName: name, principalArn }))
    return true
  } catch (cause) {
    // Who may not read entries may still be told of them.
    return awsFault(cause, { action: 'eks:DescribeAccessEntry', region: aws.region }).kind === 'not-found'
      ? false
      : undefined
  }
}

async function createEntry(aws: Aws, cluster: EksCluster, principalArn: string): Promise<void> {
  const { CreateAccessEntryCommand, AssociateAccessPolicyCommand } = await import('@aws-sdk/client-eks')
  const whose = { clusterName: cluster.name, principalArn }
  const on = `EKS cluster ${cluster.name}`
  await called(aws, { action: 'eks:CreateAccessEntry', on }, async () => {
    try {
      await aws.eks.send(new CreateAccessEntryCommand({ ...whose, tags: { 'managed-by': 'isthmus' } }))
    } catch (cause) {
      if (!(cause instanceof Error) || cause.name !== 'ResourceInUseException') throw cause
    }
  })
  const policy = { policyArn: adminPolicy(cluster.arn), accessScope: { type: 'cluster' } } as const
  await called(aws, { action: 'eks:AssociateAccessPolicy', on }, () =>
    aws.eks.send(new AssociateAccessPolicyCommand({ ...whose, ...policy })),
  )
}

/**
 * Who calls, as an access entry names him: of a session the role behind it. STS leaves the path of a role out, and an
 * entry must have it: IAM is asked, and where it does not tell, the path that AWS itself gives (single sign-on) stands.
 */
export async function principalOf(aws: Aws): Promise<string> {
  const xml = await askQuery(aws, { service: 'sts', action: 'GetCallerIdentity' })
  const [arn = ''] = textsIn(xml, 'Arn')
  const [, partition = '', account = '', role] = /^arn:([^:]+):sts::(\d+):assumed-role\/([^/]+)\//.exec(arn) ?? []
  if (role === undefined) return entitled(aws, arn)
  const params = { RoleName: role }
  const found = await askQuery(aws, { service: 'iam', action: 'GetRole', params }).catch((error: unknown) => {
    if (error instanceof Problem) return ''
    throw error
  })
  const [whole] = textsIn(found, 'Arn')
  const path = role.startsWith('AWSReservedSSO_') ? 'aws-reserved/sso.amazonaws.com/' : ''
  return whole ?? `arn:${partition}:iam::${account}:role/${path}${role}`
}

function entitled(aws: Aws, arn: string): string {
  if (/^arn:[^:]+:iam::\d+:user\//.test(arn)) return arn
  throw refusal({
    ...{ kind: 'forbidden', why: `an access entry cannot name ${arn || 'who calls'}: only roles and users have one` },
    ...{ on: `AWS, region ${aws.region}`, mend: 'call as a role: --profile <name>' },
  })
}
