import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { discoverEks } from '#cli/onboard/eks/discover-eks.ts'
import { ensureEksAccess, principalOf, type Standing } from '#cli/onboard/eks/eks-access.ts'
import { describeEks, eksNames, vpcCidrs } from '#cli/onboard/eks/eks-cluster.ts'
import { eksToken, keptEksToken } from '#cli/onboard/eks/eks-token.ts'
import { type Aws, openAws } from '#cli/onboard/eks/open-aws.ts'
import { runCli } from '#cli/run.ts'
import type { Send } from '#cli/send.ts'
import { type EksRig, openEksRig } from '#tests/support/eks.ts'
import { startTokenWebhook, type TokenWebhook } from '#tests/support/eks-token-webhook.ts'

/** A real client with real signatures, against an emulator that checks both who asks and what he may. */
let rig: EksRig
const before = { ...process.env }
beforeAll(async () => {
  rig = await openEksRig()
  const shared = await rig.cluster('prod', { cidr: '10.0.0.0/16', tags: { team: 'shop', stage: 'prod' } })
  await rig.cluster('prod-blue', { vpc: shared, tags: { team: 'shop', stage: 'prod' } })
  await rig.cluster('Legacy_1', { cidr: '10.0.128.0/17', tags: { team: 'old' }, version: '1.29' })
  await rig.cluster('prod', { region: 'us-east-1', cidr: '10.8.0.0/16', tags: { team: 'shop' } })
  await rig.user('reader', ['eks:ListClusters', 'eks:DescribeCluster', 'ec2:DescribeVpcs'])
  await rig.user('blind', ['eks:ListClusters', 'eks:DescribeCluster'])
  await rig.user('lister', ['eks:ListClusters'])
  await rig.user('nobody', [])
  await rig.user('joiner', ['eks:*', 'iam:GetRole'])
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
  Object.assign(process.env, rig.env)
}, 300_000)
afterAll(async () => {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
  Object.assign(process.env, before)
  await rig?.stop()
})

const open = (profile = 'reader', region = 'eu-west-1', more: object = {}): Promise<Aws> =>
  openAws({ region, profile, env: rig.env, answerMs: 60_000, ...more })

const members = [
  { name: 'prod', state: 'joined', region: 'eu-west-1', network: '' },
  { name: 'paris-1', state: 'joined', region: 'eu-1', network: 'net-paris' },
  { name: 'legacy-1', state: 'left', region: '', network: '' },
]
const centre: Send = async (url) =>
  url.pathname === '/v1/clusters'
    ? { status: 200, text: JSON.stringify({ items: members }) }
    : { status: 404, text: '{}' }

async function cli(line: string, env: object = {}): Promise<string> {
  let [out, err] = ['', '']
  const code = await runCli(line.split(' '), {
    env: { ...rig.env, ISTHMUS_URL: 'https://centre.test:7400', ISTHMUS_API_KEY: 'k', ...env },
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
    ...{ now: () => 0, colour: false, send: centre },
  })
  return rig.steady(`$ isthmus ${line}\n${out}${err === '' ? '' : `stderr:\n${err}`}${code === 0 ? '' : `[${code}]\n`}`)
}

function expectGolden(name: string, text: string): void {
  const path = fileURLToPath(new URL(`../testdata/${name}.txt`, import.meta.url))
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, text)
  expect(text).toBe(existsSync(path) ? readFileSync(path, 'utf8') : undefined)
}

describe('discover eks', () => {
  test('shows members and others of several regions, with network, overlaps and the way in', async () => {
    rig.pageSize = 2
    const lines = [
      'discover eks --region eu-west-1 us-east-1 --profile reader',
      'discover eks --region eu-west-1 --tag team=shop stage=prod --profile reader -o json',
      'discover eks --region us-east-1 --profile reader -o yaml',
      'discover eks --region ap-south-1 --profile reader',
      'discover eks --region eu-west-1 --tag team=none --profile reader',
    ]
    const told: string[] = []
    for (const line of lines) told.push(await cli(line))
    expectGolden('discover-eks', told.join('\n'))
  })

  test('names the action that is missing, and what is therefore not known', async () => {
    rig.pageSize = 100
    const told: string[] = []
    for (const who of ['nobody', 'lister', 'blind'])
      told.push(await cli(`discover eks --region eu-west-1 --profile ${who}`))
    told.push(await cli('discover eks --region eu-west-1 --profile nowhere'))
    told.push(await cli('discover eks --region eu-west-1'))
    expectGolden('discover-eks-denied', told.join('\n'))
  })

  test('a region that fails hides nothing of the others, in a table and for programs', async () => {
    rig.front.fail('denied', 1, /^GET \/clusters(\?|$)/)
    const one = await cli('discover eks --region eu-west-1 us-east-1 --profile reader')
    expect(one).toMatch(/AWS does not let you call eks:ListClusters in (eu-west-1|us-east-1)/)
    expect(one).toMatch(/^(prod|Legacy_1) .*(us-east-1|eu-west-1) /m)
    expect(one).toContain('[1]')
    rig.front.fail('denied', 1, /^GET \/clusters(\?|$)/)
    const json = await cli('discover eks --region eu-west-1 us-east-1 --profile reader -o json')
    expect(json.match(/"read": (true|false)/g)?.toSorted()).toEqual(['"read": false', '"read": true'])
  })

  test('without a centre the clusters are shown, and members are not known', async () => {
    const told = await cli('discover eks --region us-east-1 --profile reader', {
      ISTHMUS_URL: '',
      HOME: '/nonexistent',
    })
    expect(told).toMatch(/^prod .* unknown /m)
    expect(told).toContain('no centre is chosen')
    expect(told).not.toContain('To join')
  })
})

describe('a list of clusters', () => {
  test.each([1, 2, 3, 100])('is whole, in pages of %i', async (size) => {
    rig.pageSize = size
    expect(await eksNames(await open())).toEqual(['Legacy_1', 'prod', 'prod-blue'])
  })

  test('cut off or throttled for a while: it is whole all the same; for long: said so', async () => {
    rig.pageSize = 1
    rig.front.fail('reset', 1, /nextToken=1/)
    expect(await eksNames(await open())).toHaveLength(3)
    rig.front.fail('throttle', 1, /nextToken=2/)
    expect(await eksNames(await open())).toHaveLength(3)
    rig.front.fail('throttle', 1, /nextToken=2/)
    await expect(eksNames(await open('reader', 'eu-west-1', { attemptsMax: 1 }))).rejects.toMatchObject({
      kind: 'too-many',
      message: expect.stringContaining('AWS refused eks:ListClusters in eu-west-1 once'),
    })
    rig.front.fail('hang', 1, /^GET \/clusters/)
    await expect(eksNames(await open('reader', 'eu-west-1', { attemptsMax: 1, answerMs: 50 }))).rejects.toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('did not answer eks:ListClusters'),
    })
  })
})

describe('a cluster', () => {
  test('with what a join needs of it', async () => {
    rig.serve('prod-blue', { endpoint: 'https://10.1.2.3', ca: '-----BEGIN CERTIFICATE-----' })
    expect(await describeEks(await open(), 'prod-blue')).toMatchObject({
      ...{ name: 'prod-blue', region: 'eu-west-1', status: 'ACTIVE', version: '1.33', authentication: 'API' },
      ...{ endpoint: 'https://10.1.2.3', ca: '-----BEGIN CERTIFICATE-----', issuer: expect.stringContaining('/id/') },
      ...{ vpc: expect.stringMatching(/^vpc-/), serviceCidr: '10.100.0.0/16', tags: { team: 'shop', stage: 'prod' } },
    })
  })

  test('that is not there', async () => {
    await expect(describeEks(await open(), 'nope')).rejects.toMatchObject({
      kind: 'not-found',
      message: 'there is no EKS cluster nope in eu-west-1',
    })
  })
})

describe('the addresses of a VPC', () => {
  test('throttled and cut off: asked again', async () => {
    const aws = await open()
    const { vpc = '' } = await describeEks(aws, 'prod')
    rig.front.fail('throttle', 1, /^POST/)
    rig.front.fail('reset', 1, /^POST/)
    expect(await vpcCidrs(aws, vpc)).toEqual(['10.0.0.0/16'])
    await expect(vpcCidrs(aws, 'vpc-nope')).rejects.toMatchObject({ kind: 'not-found' })
  })
})

test('of a region with a strange name nothing is asked', async () => {
  const asked = rig.front.seen()
  const wanted = { regions: ['eu-west-1', 'evil.example/'], tags: {}, env: rig.env }
  await expect(discoverEks(wanted)).rejects.toMatchObject({ kind: 'invalid' })
  expect(rig.front.seen()).toBe(asked)
})

describe('the bearer token of EKS', () => {
  let webhook: TokenWebhook
  beforeAll(async () => {
    webhook = await startTokenWebhook({ address: '127.0.0.1', emulator: rig.emulator, region, cluster: 'prod' })
    await accessOf('prod', 'joiner', ['unknown-caller', 'admin'], true)
  })
  afterAll(() => webhook?.stop())
  const region = 'eu-west-1'
  type Review = {
    readonly status: { readonly authenticated: boolean; readonly user?: object; readonly error?: string }
  }
  const reviewed = async (token: string): Promise<Review['status']> => {
    const body = JSON.stringify({ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } })
    return ((await (await fetch(webhook.url, { method: 'POST', body })).json()) as Review).status
  }
  const edited = (token: string, edit: (url: string) => string): string =>
    `k8s-aws-v1.${Buffer.from(edit(Buffer.from(token.slice(11), 'base64url').toString())).toString('base64url')}`

  test('is whose STS says it is, at the cluster that it names', async () => {
    const { token } = await eksToken(await open('joiner'), 'prod', Date.now())
    expect(token).toMatch(/^k8s-aws-v1\.[A-Za-z0-9_-]+$/)
    const url = Buffer.from(token.slice(11), 'base64url').toString()
    expect(url).toContain('https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&')
    expect(url).toContain('X-Amz-SignedHeaders=host%3Bx-k8s-aws-id')
    expect(url).toContain('X-Amz-Expires=60')
    expect(await reviewed(token)).toEqual({
      authenticated: true,
      user: {
        username: 'arn:aws:iam::000000000000:user/joiner',
        uid: 'arn:aws:iam::000000000000:user/joiner',
        groups: ['system:masters'],
      },
    })
  })

  test('is nobody’s anywhere else, later, or changed', async () => {
    const aws = await open('joiner')
    const { token } = await eksToken(aws, 'prod', Date.now())
    for (const [bad, why] of [
      [(await eksToken(aws, 'prod-blue', Date.now())).token, /^STS says 403/],
      [(await eksToken(await open('nobody'), 'prod', Date.now())).token, /No access entry/],
      [(await eksToken(aws, 'prod', Date.now() - 16 * 60_000)).token, /too old/],
      [edited(token, (url) => url.replace('host%3Bx-k8s-aws-id', 'host')), /no cluster is signed/],
      [edited(token, (url) => url.replace('GetCallerIdentity', 'AssumeRole')), /it asks for AssumeRole/],
      [edited(token, (url) => url.replace('sts.eu-west-1', 'evil.example/sts.eu-west-1')), /it asks/],
      ['k8s-aws-v1.', /./],
    ] as const) {
      const { authenticated, error } = await reviewed(bad)
      expect([authenticated, error]).toEqual([false, expect.stringMatching(why)])
    }
  })

  test('is kept for ten minutes, then made anew; a failure is not kept', async () => {
    let [now, made] = [0, 0]
    const token = keptEksToken(
      async () => {
        made += 1
        if (made === 2) throw new Error('away')
        return { token: `t${made}`, signedAt: now }
      },
      () => now,
    )
    expect([await token(), await token()]).toEqual(['t1', 't1'])
    now += 9 * 60_000
    expect(await token()).toBe('t1')
    now += 60_000
    await expect(token()).rejects.toThrow('away')
    expect([await token(), await token()]).toEqual(['t3', 't3'])
    // A clock that was set back says nothing of its age.
    now -= 3_600_000
    expect(await token()).toBe('t4')
  })
})

/** Of an API server that says these one after another, and the last of them from then on. */
async function accessOf(name: string, profile: string, says: readonly Standing[], create: boolean): Promise<number> {
  const aws = await open(profile)
  let asked = 0
  const standing = async (): Promise<Standing> => says[Math.min(asked++, says.length - 1)] ?? 'admin'
  const parts = { standing, pause: async () => undefined, say: () => undefined }
  await ensureEksAccess(aws, await describeEks(aws, name), { ...parts, create })
  return asked
}

describe('access to an API server', () => {
  test('that one has is left as it is', async () => {
    const before = rig.front.seen()
    expect(await accessOf('prod', 'reader', ['admin'], true)).toBe(1)
    expect(await accessOf('prod', 'reader', ['limited'], false)).toBe(1)
    // Each described the cluster, and wrote nothing.
    expect(rig.front.seen() - before).toBe(2)
  })

  test('that one has not: the commands that give it, ready to paste', async () => {
    const whose = '--cluster-name prod-blue --principal-arn arn:aws:iam::000000000000:user/joiner'
    await expect(accessOf('prod-blue', 'joiner', ['unknown-caller'], false)).rejects.toMatchObject({
      kind: 'forbidden',
      message: expect.stringContaining('user/joiner: it has no access entry'),
      extra: {
        on: 'EKS cluster prod-blue, region eu-west-1',
        mend:
          `add --create-access-entry, or: aws eks create-access-entry --region eu-west-1 --profile joiner ${whose} && ` +
          `aws eks associate-access-policy --region eu-west-1 --profile joiner ${whose} ` +
          '--policy-arn arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy --access-scope type=cluster',
      },
    })
  })

  test('is made where that is asked for, and waited for; doing so again changes nothing', async () => {
    expect(await accessOf('prod-blue', 'joiner', ['unknown-caller', 'unknown-caller', 'admin'], true)).toBe(3)
    expect(await accessOf('prod-blue', 'joiner', ['unknown-caller', 'admin'], true)).toBe(2)
    await expect(accessOf('prod-blue', 'joiner', ['unknown-caller'], false)).rejects.toThrow(
      /though it has an access entry/,
    )
    await expect(accessOf('prod-blue', 'joiner', ['unknown-caller'], true)).rejects.toThrow(/does not act on it yet/)
  })

  test('that one may not make: the action that is missing is named', async () => {
    await expect(accessOf('prod-blue', 'reader', ['unknown-caller'], true)).rejects.toMatchObject({
      kind: 'forbidden',
      message: expect.stringContaining('eks:CreateAccessEntry'),
    })
  })

  test('by entries is not had from a cluster that takes none', async () => {
    await rig.cluster('old', { authentication: 'CONFIG_MAP' })
    await expect(accessOf('old', 'joiner', ['unknown-caller'], true)).rejects.toMatchObject({
      kind: 'forbidden',
      extra: { mend: expect.stringContaining('authenticationMode=API_AND_CONFIG_MAP') },
    })
  })

  test('is a user’s by his own name', async () => {
    expect(await principalOf(await open('joiner'))).toBe('arn:aws:iam::000000000000:user/joiner')
  })
})
