import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DescribeAccessEntryCommand, EKSClient, ListAssociatedAccessPoliciesCommand } from '@aws-sdk/client-eks'
import { rootCredentials } from '#tests/support/ministack.ts'

export type TokenWebhookParts = {
  /** Where it listens: an address that the API server reaches. */
  readonly address: string
  /** URL of the emulated AWS. */
  readonly emulator: string
  readonly region: string
  /** As EKS calls the cluster. */
  readonly cluster: string
}

/** What stands beside the API server of every EKS cluster: it asks STS whose token it is, and EKS what he may do. */
export type TokenWebhook = {
  /** The path of a file for `--authentication-token-webhook-config-file`. */
  readonly kubeconfig: string
  readonly url: string
  /** Why tokens were refused, newest last. */
  readonly refused: readonly string[]
  stop(): Promise<void>
}

const prefix = 'k8s-aws-v1.'
const parameters = /^(Action|Version|X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature|Security-Token))$/
const ageMsMax = 15 * 60_000

export async function startTokenWebhook(parts: TokenWebhookParts): Promise<TokenWebhook> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-webhook-'))
  const { emulator: endpoint, region } = parts
  const eks = new EKSClient({ region, endpoint, credentials: rootCredentials })
  const refused: string[] = []
  /** STS takes such a request for 15 minutes, whatever it says of 60 seconds; the emulator goes by what it says. */
  const identities = new Map<string, string>()
  const server = createServer(async (req, res) => {
    const review = JSON.parse(await textOf(req)) as { apiVersion: string; spec: { token: string } }
    const status = await userOf(review.spec.token, eks, { ...parts, identities }).then(
      (user) => ({ authenticated: true, user }),
      (fault: Error) => {
        refused.push(fault.message)
        return { authenticated: false, error: fault.message }
      },
    )
    const answer = { apiVersion: review.apiVersion, kind: 'TokenReview', status }
    res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  })
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, parts.address, done))
  const bound = server.address()
  const url = `http://${parts.address}:${typeof bound === 'object' && bound ? bound.port : 0}/`
  const kubeconfig = join(dir, 'webhook.json')
  const file = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'aws' },
    clusters: [{ name: 'aws', cluster: { server: url } }],
    users: [{ name: 'api-server', user: {} }],
    contexts: [{ name: 'aws', context: { cluster: 'aws', user: 'api-server' } }],
  }
  writeFileSync(kubeconfig, JSON.stringify(file))
  return {
    ...{ kubeconfig, url, refused },
    stop: async () => {
      eks.destroy()
      await new Promise<void>((done) => {
        server.close(() => done())
        server.closeAllConnections()
      })
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Throws why it is nobody's token. Source: aws-iam-authenticator, pkg/token: Verify. */
async function userOf(
  token: string,
  eks: EKSClient,
  { emulator, region, cluster, identities }: TokenWebhookParts & { readonly identities: Map<string, string> },
) {
  if (!token.startsWith(prefix)) throw new Error('no token of EKS')
  const url = new URL(Buffer.from(token.slice(prefix.length), 'base64url').toString('utf8'))
  const said = url.searchParams
  if (url.origin !== `https://sts.${region}.amazonaws.com` || url.pathname !== '/' || url.username !== '')
    throw new Error(`it asks ${url.origin}${url.pathname}`)
  const odd = [...said.keys()].find((key) => !parameters.test(key) || said.getAll(key).length > 1)
  if (odd !== undefined) throw new Error(`it says ${odd}`)
  if (said.get('Action') !== 'GetCallerIdentity') throw new Error(`it asks for ${said.get('Action')}`)
  if (!(said.get('X-Amz-SignedHeaders') ?? '').split(';').includes('x-k8s-aws-id'))
    throw new Error('no cluster is signed')
  if (Math.abs(Date.now() - momentOf(said.get('X-Amz-Date') ?? '')) > ageMsMax) throw new Error('it is too old')
  const arn = identities.get(token) ?? (await identityAt(emulator, url, cluster))
  identities.set(token, arn)
  return entitledUser(eks, cluster, arn)
}

const momentOf = (text: string): number =>
  Date.parse(text.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))

/** Sends the request that the token is, with the name of this very cluster. */
async function identityAt(emulator: string, url: URL, cluster: string): Promise<string> {
  const { hostname, port } = new URL(emulator)
  const headers = { host: url.host, 'x-k8s-aws-id': cluster }
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ hostname, port, path: `${url.pathname}${url.search}`, headers }, resolve)
      .on('error', reject)
      .end()
  })
  const xml = await textOf(answer)
  const [, arn] = /<Arn>([^<]+)</.exec(xml) ?? []
  if (answer.statusCode !== 200 || arn === undefined) throw new Error(`STS says ${answer.statusCode}: ${xml}`)
  return arn.replace(/^arn:aws:sts::(\d+):assumed-role\/([^/]+)\/.*$/, 'arn:aws:iam::$1:role/$2')
}

async function entitledUser(eks: EKSClient, clusterName: string, principalArn: string) {
  const whose = { clusterName, principalArn }
  const { accessEntry } = await eks.send(new DescribeAccessEntryCommand(whose))
  const { associatedAccessPolicies = [] } = await eks.send(new ListAssociatedAccessPoliciesCommand(whose))
  const isAdmin = associatedAccessPolicies.some(({ policyArn }) => policyArn?.endsWith('/AmazonEKSClusterAdminPolicy'))
  const groups = [...(accessEntry?.kubernetesGroups ?? []), ...(isAdmin ? ['system:masters'] : [])]
  return { username: accessEntry?.username || principalArn, uid: principalArn, groups }
}

async function textOf(message: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = []
  for await (const piece of message as AsyncIterable<Buffer>) pieces.push(piece)
  return Buffer.concat(pieces).toString('utf8')
}
