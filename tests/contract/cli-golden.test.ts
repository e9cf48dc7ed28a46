import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { nouns } from '#cli/nouns.ts'
import { hearingsOf } from '#functions/api/hearings.ts'
import { type CliFleet, openCliFleet, steadyText, transcript } from '#tests/support/cli-fleet.ts'
import { root } from '#tests/support/parts.ts'
import { selfSigned } from '#tests/support/self-signed.ts'

// What a person sees of every command: its help, its table, its JSON, its errors. `npm run golden` writes the files anew.

const testdata = join(root, 'cli/testdata')
const update = process.env['UPDATE_GOLDEN'] === '1'

let fleet: CliFleet
let steady: (text: string) => string
beforeAll(async () => {
  fleet = await openCliFleet()
  steady = steadyText(fleet, root)
})
afterAll(() => fleet.close())

type Run = readonly string[] | { readonly away: readonly string[] }
const away = (...args: string[]): Run => ({ away: args })
const words = (line: string): string[] => line.split(' ')
const manifest = join(root, 'cli/onboard/inject/testdata/pod.yaml')

/** The launcher starts these by themselves. */
const programs = ['serve', 'relay', 'proxy', 'redirect']

/** What shells ask for: the words up to the cursor. */
const typed: readonly Run[] = [
  ...['', 'cl', 'get cl', 'token create ', 'context use ', 'get clusters -o ', 'get clusters --output=y', 'apply -f '],
  ...['cluster-config paris', 'key create --role ', 'endpoints --', '--context ', 'endpoints --cluster o', 'nothing '],
  ...['sandbox kill ', 'sandbox pause paris-1/', 'sandbox partition '],
].map((line) => ['_complete', '--', ...line.split(' ')])

/** Those that see: by file, what is typed one after another. */
const seeing: Readonly<Record<string, readonly Run[]>> = {
  isthmus: [
    ['--help'],
    ['--version'],
    [],
    ['frob'],
    ['--frob'],
    words('--context nowhere status'),
    words('--url https://centre.test:7400 clusters'),
  ],
  status: [words('status --help'), ['status'], words('status -o json'), away('status'), away('status', '-o', 'json')],
  get: [
    words('get --help'),
    words('get pods'),
    words('get clusters --service x'),
    words('get clusters --history'),
    ['get'],
  ],
  version: [words('version --help'), ['version'], words('version -o json'), away('version')],
  sandbox: ['', ...['kill', 'pause', 'restore', 'partition', 'add', 'call'].map((one) => `${one} `)].map((one) =>
    words(`sandbox ${one}--help`),
  ),
  completion: [
    words('completion --help'),
    words('completion bash'),
    words('completion zsh'),
    words('completion fish'),
    ...typed,
  ],
  trust: [
    ...['', 'show ', 'rotate ', 'rotate-root ', 'revoke ', 'undo ', 'verify ', 'log '].map((one) =>
      words(`trust ${one}--help`),
    ),
    ...['show', 'rotate-root --plan', 'rotate issuing paris-1 --plan', 'rotate issuing', 'rotate root paris-1'].map(
      (one) => words(`trust ${one}`),
    ),
    ...['rotate-root --status', 'rotate-root --continue', 'rotate-root --abort', 'rotate-root --plan --abort'].map(
      (one) => words(`trust ${one}`),
    ),
    ...['revoke cluster paris-1', 'revoke king paris-1 --reason x', 'revoke cluster nobody --reason x'].map((one) =>
      words(`trust ${one}`),
    ),
    ...['undo x --reason y', 'undo 7 --reason y', 'log', 'log --verify', 'verify nowhere.pem'].map((one) =>
      words(`trust ${one}`),
    ),
    away('trust', 'show'),
  ],
  manifests: [
    ...['--help', 'paris-1', 'paris-1 --registry registry.test', 'paris-1 --region eu-1 --gateway-replicas 0'].map(
      (one) => words(`manifests ${one}`),
    ),
    words('manifests paris-1 --registry registry.test --region eu-1 --gateway-address localhost'),
    ['cluster', 'join', '--help'],
    ...[
      ...['paris-1 --context east', 'paris-1 --registry registry.test --context east --kubeconfig nowhere.yaml'],
      ...['paris-1 --registry registry.test --cluster-set-cidr 10.0.0.0/40', ''],
    ].map((one) => words(`cluster join ${one}`.trim())),
    ...['--help', 'lima-1 --kubeconfig nowhere.yaml', 'oslo-1 --force paris-1', 'paris-1 --force paris-1'].map((one) =>
      words(`cluster leave ${one}`),
    ),
    ...['nobody --force nobody', 'rome-1 --over never'].map((one) => words(`cluster unjoin ${one}`)),
  ],
  check: [
    ...['check --help', 'check --kubeconfig /nowhere', 'check --eks prod', 'check --profile p'].map(words),
    words('check paris-1 --eks prod --kubeconfig /nowhere'),
  ],
  discover: [
    ...['--help', 'eks --help', 'eks', 'eks --region Nowhere', 'eks --region eu-west-1 --tag team', 'gke'].map((one) =>
      words(`discover ${one}`),
    ),
  ],
  inject: [
    ...['--help', `-f ${manifest}`, `-f ${manifest} --cluster paris-1`, '-f nowhere.yaml --cluster paris-1'],
    ...[`-f ${manifest} --cluster nobody --registry r.test`, `-f ${manifest} --cluster paris-1 --registry r.test`],
    ...[`-f ${manifest} --cluster A --mesh m --network n --image i`, `-f ${manifest} --remove --cni`],
    ...[`-f ${manifest} --values nowhere.yaml`, `-f ${manifest} --remove`, ''],
  ].map((line) => words(`inject ${line}`.trim())),
  explain: [
    ...[words('explain --help'), words('explain paris-1/bookinfo/productpage-1 reviews:9080')],
    ...[words('why oslo-1/bookinfo/productpage-1 ratings:9080'), words('why paris-1/bookinfo/x ratngs.bookinfo')],
    ...[words('explain paris-1/bookinfo/productpage-1 reviews -o json'), words('explain paris-1/x reviews')],
    ...[words('explain rome-1/bookinfo/x reviews:9080'), words('explain paris-1/bookinfo/x reviews:http')],
    ...[away('explain', 'paris-1/bookinfo/productpage-1', 'reviews:9080'), away('why', 'oslo-1/bookinfo/x', 'reviews')],
  ],
  rehearse: [
    ...[
      '--help',
      '--lose paris-1',
      '--lose oslo-1',
      '--lose region/eu-1 127.21.0.2:15443',
      '--lose atlantis eu-9',
      '',
    ].map((one) => `rehearse ${one}`.trim()),
    ...['simulate --lose 203.0.113.9 -o json', 'simulate --lose oslo-1 --lose paris-1'],
  ].map(words),
  proxies: [
    ...[words('proxies --help'), ['proxies'], words('proxies -o json'), words('proxies --cluster rome-1')],
    ...[words('proxies nobody'), away('proxies', 'details-1.bookinfo'), words('proxies --cluster oslo-1')],
  ],
  traffic: [
    ...[words('traffic --help'), ['traffic'], words('traffic reviews'), words('traffic bookinfo/reviews -o json')],
    ...[words('traffic --cluster oslo-1'), words('traffic nothing'), away('traffic')],
  ],
  endpoints: [words('endpoints --help'), ['endpoints'], away('endpoints'), away('endpoints', '-o', 'json')],
  'cluster-config': [
    ...[words('cluster-config --help'), words('cluster-config paris-1'), words('cluster-config paris-1 -o json')],
    ...[words('cluster-config paris-1 --history'), words('cluster-config nobody')],
    ...[words('cluster-config paris-1 --revision 99'), away('cluster-config', 'paris-1')],
    ...[away('cluster-config', 'oslo-1'), away('cluster-config', 'paris-1', '--history')],
  ],
  ...Object.fromEntries(
    ['clusters', 'services', 'exports', 'imports', 'gateways', 'events'].map((word) => [
      word,
      [[word, '--help'], [word], away(word)],
    ]),
  ),
  ...Object.fromEntries(
    nouns.map(({ name }): [string, Run[]] => [
      `get-${name}`,
      [
        ['get', name],
        ['get', name, '-o', 'json'],
        ['get', name, 'nobody'],
      ],
    ]),
  ),
  context: [
    ...['--help', 'list --help', 'use --help', 'add --help', 'delete --help', 'list', 'list -o json', 'use nowhere'],
    ...['add new', 'add new --url http://x', 'add golden --relay paris', 'delete nowhere'],
    ...['--url https://other.test add other', 'use other', 'list', 'use golden', 'delete other'],
  ].map((line) => words(line.startsWith('--url') ? line.replace('add', 'context add') : `context ${line}`)),
}

const file = (name: string): string => join(fleet.home, name)

/** Those that change: later ones see what earlier ones did. */
const changing: Readonly<Record<string, () => readonly Run[]>> = {
  cluster: () =>
    [
      ...['--help', 'create --help', 'delete --help', 'create tokyo-1 --region ap-1', 'create tokyo-1 --region ap-1'],
      ...['create EU_West.1', 'create', 'delete nobody', 'delete tokyo-1'],
    ].map((line) => words(`cluster ${line}`)),
  token: () =>
    ['--help', 'create --help', 'create rome-1', 'create rome-1 -o json', 'create nobody', 'create'].map((line) =>
      words(`token ${line}`),
    ),
  key: () =>
    [
      ...['--help', 'create --help', 'revoke --help', 'create ops --role operator --expires 90d', 'create ops -o json'],
      ...[
        `create auto --out ${file('auto.key')}`,
        `create auto --out ${file('auto.key')}`,
        'create ops --expires soon',
      ],
      ...['create ops --role king', 'revoke ops', 'revoke ci', 'revoke nobody', 'revoke'],
    ].map((line) => words(`key ${line}`)),
  apply: () => [
    words('apply --help'),
    ...['good', 'mixed', 'broken', 'empty', 'other', 'list'].map((name) => [
      'apply',
      '-f',
      file(`${name}.yaml`),
      '--dry-run',
    ]),
    ...['good', 'good', 'mixed', 'utf16', 'nothing'].map((name) => ['apply', '-f', file(`${name}.yaml`)]),
    ...[['--dry-run'], [], []].map((more) => ['apply', '-f', file('policy.yaml'), ...more]),
    ...[
      ['apply', '-f', file('nowhere.yaml')],
      ['get', 'gtp'],
      ['get', 'sg'],
    ],
    ['apply'],
  ],
  plan: () => [
    words('plan --help'),
    ...[[], ['-o', 'json'], ['--delete']].map((more) => ['plan', '-f', file('shifted.yaml'), ...more]),
    ...['good', 'nowhere'].map((name) => ['plan', '-f', file(`${name}.yaml`)]),
    ['apply', '-f', file('shifted.yaml'), '--plan', '0'.repeat(64)],
    ['apply', '-f', file('shifted.yaml'), '--plan', '0'.repeat(64), '--dry-run'],
    ['plan'],
  ],
  'trust-changing': () => [
    ...['rotate-root --no-follow --reason x', 'rotate-root --no-follow', 'rotate-root --status', 'show'].map((one) =>
      words(`trust ${one}`),
    ),
    ...['rotate-root --force', 'rotate-root --abort --reason x', 'rotate-root --status'].map((one) =>
      words(`trust ${one}`),
    ),
    words('trust revoke workload spiffe://paris-1.mesh1/ns/shop/sa/web --reason stolen --no-follow'),
    ...['show', 'undo 1 --reason found', 'undo 1 --reason found', 'log --verify'].map((one) => words(`trust ${one}`)),
  ],
  'trust-foreign': () => [
    ...['federate --help', 'unfederate --help', 'federate partner.example'].map((one) => words(`trust ${one}`)),
    ...['paris-1.mesh1', 'Partner.example'].map((one) => ['trust', 'federate', one, '-f', file('partner.json')]),
    ...['bad.json', 'no.json', 'nothing.json'].map((one) => ['trust', 'federate', 'partner.example', '-f', file(one)]),
    ['trust', 'federate', 'partner.example', '-f', file('partner.json'), '--dry-run'],
    ...['partner.json', 'partner.json', 'older.json'].map((one) => [
      ...['trust', 'federate', 'partner.example', '-f', file(one)],
    ]),
    ...['get foreign-domains', 'trust show', 'get foreign-domains nobody.example'].map(words),
    ...['unfederate partner.example --reason over --no-follow', 'unfederate partner.example --reason over'].map((one) =>
      words(`trust ${one}`),
    ),
  ],
  drain: () => [
    words('drain --help'),
    ...['king x', 'cluster', 'cluster atlantis', 'service paris-1', 'gateway paris-1/10.9.9.9:15443'].map((one) =>
      words(`drain ${one}`),
    ),
    ...[
      ...['paris-1 --over soon', 'paris-1 --force', 'paris-1 --dry-run', 'paris-1 --no-follow', 'paris-1 --no-follow'],
      'oslo-1 --no-follow',
    ].map((one) => words(`drain cluster ${one}`)),
    ...[['get', 'drains'], ['status']],
  ],
  undrain: () => [
    ...[
      '--help',
      'cluster atlantis',
      'gateway paris-1',
      'cluster paris-1 --reason rehearsed',
      'cluster oslo-1',
      'cluster oslo-1',
    ].map((one) => words(`undrain ${one}`)),
  ],
  freeze: () => [
    words('freeze --help'),
    ['freeze'],
    ['freeze', '--reason', 'a day of quiet'],
    ['freeze', '--reason', 'x'],
    ['status'],
  ],
  unfreeze: () => [words('unfreeze --help'), ['unfreeze'], ['unfreeze']],
  'policy-sources': () =>
    ['--help', '', '--add oslo-1 --reason calm', '--add nobody', '--remove oslo-1'].map((one) =>
      words(`policy-sources ${one}`.trim()),
    ),
  delete: () => [
    words('delete --help'),
    ['delete', '-f', file('good.yaml'), '--dry-run'],
    ['delete', '-f', file('good.yaml')],
    ['delete', '-f', file('good.yaml')],
  ],
}

const narrowing =
  'kind: ServiceExport\nmetadata: { name: reviews, namespace: bookinfo }\nspec: { consumers: [oslo-1] }\n'
const group = 'kind: SamenessGroup\nmetadata: { name: prod }\nspec: { clusters: [oslo-1, kyoto-9] }\n'
const policy = `kind: GlobalTrafficPolicy
metadata: { name: reviews, namespace: bookinfo }
spec:
  services: { names: [reviews] }
  tiers: [{ targets: [{ group: prod }] }, { targets: [{ cluster: paris-1 }] }]
  unlisted: last
  retries: { attempts: 2 }
`
const inputs: Readonly<Record<string, string>> = {
  'good.yaml': `kind: Cluster\nmetadata: { name: kyoto-1 }\nspec: { region: ap-1 }\n---\n${narrowing}`,
  'mixed.yaml': `${narrowing}---\nkind: Gateway\nmetadata: { name: g }\n---\nkind: Cluster\nmetadata: { name: No_Label }\n`,
  'broken.yaml': 'kind: Cluster\nmetadata: { name: x\nspec: {}\n',
  'empty.yaml': '# nothing\n',
  'other.yaml': 'apiVersion: cluster.x-k8s.io/v1beta1\nkind: Cluster\nmetadata: { name: x }\n',
  'list.yaml': `kind: List\nitems:\n  - kind: Cluster\n    metadata: { name: nara-1 }\n  - kind: Cluster\n`,
  ...foreignInputs(),
  'policy.yaml': `${group}---\n${policy}`,
  'shifted.yaml': policy
    .replace(
      'group: prod }',
      'cluster: oslo-1, weight: 70, capacity: { requestsPerSecond: 400 } }, { cluster: paris-1 }',
    )
    .replace(', { targets: [{ cluster: paris-1 }] }', '')
    .replace('attempts: 2', 'idempotent: true'),
  'nowhere.yaml': policy.replace('group: prod', 'cluster: atlantis').replace('retries', 'retry'),
  'utf16.yaml': Buffer.from('kind: Cluster\n', 'utf16le').toString('latin1'),
}

/** Made anew at each run: nothing of it but its number and end is shown. */
function foreignInputs(): Readonly<Record<string, string>> {
  const years = { notBefore: new Date('2026-01-01T00:00:00Z'), notAfter: new Date('2036-01-01T00:00:00Z') }
  const [root, ended] = [selfSigned(years), selfSigned({ ...years, ca: false, notAfter: new Date('2026-02-01') })]
  const key = (der: Uint8Array, use = 'x509-svid') => ({ use, kty: 'EC', x5c: [Buffer.from(der).toString('base64')] })
  const text = (sequence: number, ...keys: readonly object[]) => JSON.stringify({ keys, spiffe_sequence: sequence })
  return {
    'partner.json': text(7, key(root)),
    'older.json': text(6, key(root)),
    'bad.json': text(-1, key(ended), key(root, 'sig')),
    'no.json': '{"keys": ',
  }
}

async function told(runs: readonly Run[]): Promise<string> {
  const parts: string[] = []
  for (const run of runs) {
    const args = 'away' in run ? run.away : run
    fleet.away = 'away' in run
    const text = transcript(args, await fleet.run(args))
    parts.push(steady(fleet.away ? `# The centre is away.\n${text}` : text))
  }
  fleet.away = false
  return parts.join('\n')
}

function expectGolden(name: string, text: string): void {
  const path = join(testdata, `${name}.txt`)
  if (update) {
    mkdirSync(testdata, { recursive: true })
    writeFileSync(path, text)
  }
  expect(text).toBe(existsSync(path) ? readFileSync(path, 'utf8') : undefined)
}

test.each(Object.entries(seeing))('%s', async (name, runs) => expectGolden(name, await told(runs)))

test('what the centre says of itself, and of a cluster whose reports it refuses, stands in status', async () => {
  const { door, centre } = fleet.centre
  const calm = door.attention
  const relay = (await fleet.centre.admin('GET', '/v1/clusters/paris-1')).body
  Object.assign(door, {
    attention: () => ['publishing fails since 12:00: the store takes no writes; free space on its disk'],
  })
  hearingsOf(centre).set(String(relay['id']), { refusedFor: 'item export/a/b: no such port' })
  expectGolden('status-attention', await told([['status']]))
  hearingsOf(centre).clear()
  Object.assign(door, { attention: calm })
})

test.each(Object.entries(changing))('%s', async (name, runs) => {
  for (const [input, text] of Object.entries(inputs)) fleet.file(input, text)
  expectGolden(name, await told(runs()))
})

test('history, diff and a config of a time', async () => {
  vi.stubEnv('TZ', 'UTC')
  onTestFinished(() => void vi.unstubAllEnvs())
  const { centre } = fleet
  const parts: string[] = []
  const say = async (...lines: readonly string[]) => void parts.push(await told(lines.map(words)))
  fleet.file('policy-2.yaml', policy.replace('attempts: 2', 'attempts: 4').replace('  unlisted: last\n', ''))
  for (const file of ['policy.yaml', 'policy-2.yaml']) {
    centre.clock.now += 60_000
    await fleet.run(['apply', '-f', join(fleet.home, file)])
    await centre.settle()
  }
  const commands = ['history', 'diff'].map((one) => `${one} --help`)
  await say(...commands, 'history --limit 5', 'history paris-1', 'history group/prod', 'history gtp/bookinfo/reviews')
  await say('history gtp/bookinfo/reviews --limit 1 -o json', 'history nobody', 'history a/b', 'history --limit some')
  await say('diff paris-1 1', 'diff paris-1 2 2', 'diff gtp/bookinfo/reviews 1 2', 'diff group/prod 1 7')
  await say('diff paris-1 1 2 -o json', 'diff paris-1 99', 'diff paris-1 x')
  const configs = [
    '--at 12:08 --revision 1',
    '--at 13:59',
    '--at 25:00',
    '--at 2026-03-01',
    '--at 2026-02-01T12:00:00Z',
  ]
  await say(...configs.map((one) => `cluster-config paris-1 ${one}`), 'get clusters --at 12:08')
  await say('rollback --help', 'rollback paris-1', 'rollback nobody@1', 'rollback paris-1@2 --plan')
  const { hash } = JSON.parse((await fleet.run(words('rollback paris-1@2 --plan -o json'))).out) as { hash: string }
  await say(`rollback gtp/bookinfo/reviews@1 --plan ${hash}`, `rollback paris-1@2 --plan ${hash} --reason storm`)
  await say('rollback paris-1@2', 'history gtp/bookinfo/reviews')
  const then = await fleet.run(words('cluster-config paris-1 --at 12:07:00 -o json'))
  expect(JSON.parse(then.out)).toMatchObject({ id: 'paris-1@1' })
  expectGolden('history', parts.join('\n'))
})

test.each(programs)('%s, a program of its own', async (name) => {
  const said = (args: readonly string[]) =>
    new Promise<string>((resolve) => {
      const env = { PATH: process.env['PATH'], HOME: fleet.home }
      execFile(process.execPath, [join(root, 'cli/isthmus.js'), name, ...args], { env }, (error, out, err) =>
        resolve(transcript([name, ...args], { code: Number(error?.code ?? 0), out, err })),
      )
    })
  // What the program beside Envoy refuses goes to its log, for whoever reads the logs of pods.
  const runs = name === 'proxy' ? [['--help']] : [['--help'], ['--frob']]
  expectGolden(name, steady((await Promise.all(runs.map(said))).join('\n')))
})

test('every command has a golden file, and none is left over', async () => {
  const { out } = await fleet.run(['_complete', '--', ''])
  const commands = out.split('\n').flatMap((line) => line.split('\t')[0] || [])
  const wanted = [...Object.keys(seeing), ...Object.keys(changing), ...programs, 'status-attention', 'history'].map(
    (name) => `${name}.txt`,
  )
  if (update) for (const stray of readdirSync(testdata)) if (!wanted.includes(stray)) rmSync(join(testdata, stray))
  expect(readdirSync(testdata).toSorted()).toEqual(wanted.toSorted())
  const within = ['diff', 'rollback']
  const untold = commands.filter((name) => !wanted.includes(`${name}.txt`) && !within.includes(name))
  expect(untold).toEqual([])
})
