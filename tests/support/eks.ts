import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateClusterCommand, DescribeClusterCommand, EKSClient } from '@aws-sdk/client-eks'
import { type FaultProxy, startFaultProxy } from '#tests/support/fault-proxy.ts'
import { rootCredentials, startMinistack } from '#tests/support/ministack.ts'

/** A cluster that EKS would know. */
export type EksWish = {
  readonly region?: string
  readonly cidr?: string
  /** In the VPC of a cluster made before. */
  readonly vpc?: string
  readonly tags?: Readonly<Record<string, string>>
  readonly version?: string
  readonly authentication?: 'API' | 'CONFIG_MAP'
  readonly serviceCidr?: string
}

/** A real API server that an emulated cluster is given: its URL and its CA's certificate (PEM). */
export type ServedBy = { readonly endpoint: string; readonly ca: string }

/**
 * An AWS account with EKS clusters, whose signatures and policies are checked. The emulator's own list of clusters has one
 * page, and its clusters have no API server: what stands in front of it gives both.
 */
export type EksRig = {
  /** What a command needs to find it: the endpoint, and the profiles of its users. */
  readonly env: Readonly<Record<string, string>>
  readonly emulator: string
  readonly front: FaultProxy
  /** Names in one page of a list. */
  pageSize: number
  /** Makes a cluster; gives the id of its VPC. */
  cluster(name: string, wish?: EksWish): Promise<string>
  serve(name: string, by: ServedBy): void
  /** The id of its VPC, in eu-west-1. */
  vpcOf(name: string): string
  /** A user who may do these actions; a profile of his name. */
  user(name: string, actions: readonly string[]): Promise<void>
  /** What `text` has of the ids that differ from run to run, in steady form. */
  steady(text: string): string
  stop(): Promise<void>
}

const account = '000000000000'

export async function openEksRig(): Promise<EksRig> {
  const emulator = await startMinistack()
  const home = mkdtempSync(join(tmpdir(), 'isthmus-eks-'))
  const served = new Map<string, ServedBy>()
  const vpcs = new Map<string, string>()
  /** By ARN: the VPC, which AWS finds out from the subnets and the emulator does not. */
  const placed = new Map<string, string>()
  const profiles: string[] = []
  const rewrite = (asked: string, body: string): string => {
    const [, path = '', query = ''] = /^GET ([^?]*)\??(.*)$/.exec(asked) ?? []
    if (path === '/clusters') return page(body, new URLSearchParams(query), rig.pageSize)
    const [, name = ''] = /^\/clusters\/([^/]+)$/.exec(path) ?? []
    return name === '' ? body : answered(body, placed, served.get(decodeURIComponent(name)))
  }
  const front = await startFaultProxy(emulator.url, rewrite)
  const files = { config: join(home, 'config'), credentials: join(home, 'credentials') }
  const env = {
    ...{ AWS_ENDPOINT_URL: front.url, AWS_CONFIG_FILE: files.config, AWS_SHARED_CREDENTIALS_FILE: files.credentials },
    AWS_EC2_METADATA_DISABLED: 'true',
  }
  writeFileSync(files.config, '')
  const clients = new Map<string, EKSClient>()
  const admin = (region: string): EKSClient => {
    const client =
      clients.get(region) ?? new EKSClient({ region, endpoint: emulator.url, credentials: rootCredentials })
    clients.set(region, client)
    return client
  }
  const trust = { Effect: 'Allow', Principal: { Service: 'eks.amazonaws.com' }, Action: 'sts:AssumeRole' }
  const policy = (statement: object) => JSON.stringify({ Version: '2012-10-17', Statement: [statement] })
  const query = (service: string, action: string, params: Readonly<Record<string, string>>, region = 'us-east-1') =>
    asRoot(emulator.url, { service, region, body: new URLSearchParams({ Action: action, ...params }) })
  await query('iam', 'CreateRole', { RoleName: 'eks', AssumeRolePolicyDocument: policy(trust) })

  const rig: EksRig = {
    ...{ env, emulator: emulator.url, front, pageSize: 100 },
    cluster: async (name, wish = {}) => {
      const { region = 'eu-west-1', cidr = '10.0.0.0/16', tags = {}, version = '1.33', authentication = 'API' } = wish
      const vpcId =
        wish.vpc ?? textOf(await query('ec2', 'CreateVpc', { CidrBlock: cidr, Version: '2016-11-15' }, region), 'vpcId')
      if (!vpcs.has(vpcId)) vpcs.set(vpcId, `vpc-${String(vpcs.size + 1).padStart(vpcId.length - 4, '0')}`)
      const client = admin(region)
      await client.send(
        new CreateClusterCommand({
          ...{ name, version, tags: { ...tags }, roleArn: `arn:aws:iam::${account}:role/eks` },
          resourcesVpcConfig: { subnetIds: ['subnet-1'] },
          accessConfig: { authenticationMode: authentication, bootstrapClusterCreatorAdminPermissions: false },
          kubernetesNetworkConfig: { serviceIpv4Cidr: wish.serviceCidr ?? '10.100.0.0/16' },
        }),
      )
      for (let tries = 0; tries < 600; tries++) {
        const { cluster } = await client.send(new DescribeClusterCommand({ name }))
        placed.set(cluster?.arn ?? '', vpcId)
        if (cluster?.status === 'ACTIVE') return vpcId
        await new Promise((done) => setTimeout(done, 50))
      }
      throw new Error(`the emulated cluster ${name} does not come up`)
    },
    serve: (name, by) => void served.set(name, by),
    vpcOf: (name) => placed.get(`arn:aws:eks:eu-west-1:${account}:cluster/${name}`) ?? '',
    user: async (name, actions) => {
      await query('iam', 'CreateUser', { UserName: name })
      const allowed = policy({ Effect: 'Allow', Action: actions, Resource: '*' })
      if (actions.length > 0)
        await query('iam', 'PutUserPolicy', { UserName: name, PolicyName: 'all', PolicyDocument: allowed })
      const xml = await query('iam', 'CreateAccessKey', { UserName: name })
      const key = `aws_access_key_id = ${textOf(xml, 'AccessKeyId')}`
      profiles.push(`[${name}]\n${key}\naws_secret_access_key = ${textOf(xml, 'SecretAccessKey')}\n`)
      writeFileSync(files.credentials, profiles.join('\n'), { mode: 0o600 })
    },
    steady: (text) =>
      [...vpcs]
        .reduce((told, [id, steady]) => told.replaceAll(id, steady), text)
        .replaceAll(/http:\/\/localhost:\d+\/oidc\/id\/[0-9A-F]+/g, 'https://issuer.test/id/X'),
    stop: async () => {
      for (const client of clients.values()) client.destroy()
      await front.stop()
      await emulator.stop()
      rmSync(home, { recursive: true, force: true })
    },
  }
  return rig
}

/** The administrator's signature is not looked at, only whose it says it is. */
async function asRoot(
  url: string,
  { service, region, body }: { readonly service: string; readonly region: string; readonly body: URLSearchParams },
): Promise<string> {
  const scope = `${rootCredentials.accessKeyId}/20260101/${region}/${service}/aws4_request`
  const authorization = `AWS4-HMAC-SHA256 Credential=${scope}, SignedHeaders=host, Signature=${'0'.repeat(64)}`
  const answer = await fetch(url, { method: 'POST', body, headers: { authorization } })
  const text = await answer.text()
  if (!answer.ok) throw new Error(`the emulator refused ${body.get('Action')}: ${text}`)
  return text
}

const textOf = (xml: string, element: string): string => new RegExp(`<${element}>([^<]+)<`).exec(xml)?.[1] ?? ''

function page(body: string, query: URLSearchParams, size: number): string {
  const { clusters = [] } = JSON.parse(body) as { clusters?: string[] }
  const from = Number(query.get('nextToken') ?? 0)
  const next = from + size < clusters.length ? { nextToken: String(from + size) } : {}
  return JSON.stringify({ clusters: clusters.slice(from, from + size), ...next })
}

type Described = { readonly cluster?: { readonly arn: string; readonly resourcesVpcConfig: object } }

function answered(body: string, placed: ReadonlyMap<string, string>, by: ServedBy | undefined): string {
  const { cluster } = JSON.parse(body) as Described
  if (cluster === undefined) return body
  const data = by && Buffer.from(by.ca).toString('base64')
  const served = by === undefined ? {} : { endpoint: by.endpoint, certificateAuthority: { data } }
  const resourcesVpcConfig = { ...cluster.resourcesVpcConfig, vpcId: placed.get(cluster.arn) }
  return JSON.stringify({ cluster: { ...cluster, ...served, resourcesVpcConfig } })
}
