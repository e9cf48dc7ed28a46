import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { parse } from 'yaml'
import { callCentre } from '#cli/call-centre.ts'
import type { Centre } from '#cli/context.ts'
import { readAsked } from '#cli/get.ts'
import { nouns } from '#cli/nouns.ts'
import { render } from '#cli/output.ts'
import { joinCentre } from '#gateway/uplink/join.ts'
import { formatJoinToken, parseJoinToken } from '#mesh/wire/join-token.ts'
import { giveDatabase } from '#tests/support/database-template.ts'
import { programPath, root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

// The command `isthmus` as a user types it, against the real centre on its embedded store.

const home = mkdtempSync(join(tmpdir(), 'isthmus-cli-'))
const data = join(home, 'centre')
const at = (name: string) => join(home, name)
let centre: ChildProcess
let url = ''

beforeAll(async () => {
  const log: string[] = []
  await giveDatabase(data)
  centre = spawn(process.execPath, [await programPath('centre'), '--listen', '127.0.0.1:0', '--data', data], {
    env: { PATH: process.env['PATH'], HOME: home },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  centre.stderr?.on('data', (part: Buffer) => log.push(part.toString()))
  url = await eventually(60_000, 'the centre is ready', () => {
    if (centre.exitCode !== null) throw new Error(log.join(''))
    return /ready at (https:\S+)/.exec(log.join(''))?.[1]
  })
})

afterAll(() => {
  centre?.kill('SIGKILL')
  rmSync(home, { recursive: true, force: true })
})

beforeEach(() => rmSync(at('config'), { recursive: true, force: true }))

type Ran = { readonly code: number | null; readonly out: string; readonly err: string }

const good = () => [
  '--url',
  url,
  '--ca-file',
  join(data, 'control-plane-ca.pem'),
  '--key-file',
  join(data, 'admin.key'),
]

/** Runs the launcher with an environment of its own; standard output is a pipe. */
function isthmus(args: readonly string[], env: Readonly<Record<string, string>> = {}, input = ''): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [join(root, 'cli/isthmus.js'), ...args], {
      cwd: home,
      env: { PATH: process.env['PATH'], HOME: home, XDG_CONFIG_HOME: at('config'), ...env },
    })
    let [out, err] = ['', '']
    child.stdout.on('data', (part: Buffer) => (out += part.toString()))
    child.stderr.on('data', (part: Buffer) => (err += part.toString()))
    child.once('close', (code) => resolve({ code, out, err }))
    child.stdin.end(input)
  })
}

const says = async (args: readonly string[]): Promise<string> => {
  const { code, out, err } = await isthmus([...good(), ...args])
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}

test('a cluster is registered, told with the next command, and its token with the exact command of its relay', async () => {
  expect(await says(['cluster', 'create', 'paris-1', '--region', 'eu-west-3'])).toContain(
    'npx --no -- isthmus token create paris-1',
  )
  expect(await says(['token', 'create', 'paris-1'])).toMatch(
    /^npx --no -- isthmus relay --dir \.\/paris-1 --join isthmus_join_\S+\n$/,
  )
  const json: unknown = JSON.parse(await says(['token', 'create', 'paris-1', '-o', 'json']))
  expect(json).toMatchObject({ cluster: 'paris-1', token: expect.stringMatching(/^isthmus_join_/) })
})

test('a join token without a digest, at a centre of a private CA: says that the CA is unknown here, not another one', async () => {
  await says(['cluster', 'create', 'paris-3'])
  const { token } = JSON.parse(await says(['token', 'create', 'paris-3', '-o', 'json'])) as { token: string }
  const { caSha256: _, ...rest } = parseJoinToken(token)
  const bare = formatJoinToken(rest)
  const place = { cluster: 'paris-3', network: 'paris-3', region: 'eu-west-3', version: '0' }
  await expect(joinCentre({ ...place, token: bare, dir: at('paris-3') })).rejects.toThrow(
    /a CA that this machine does not know, and the join token names none: .*NODE_EXTRA_CA_CERTS.*isthmus token create paris-3/,
  )
})

test('table, JSON and YAML say the same; a pipe sees no colour; short names work', async () => {
  await says(['cluster', 'create', 'paris-2'])
  const [text, json, yaml] = [
    await says(['get', 'clusters']),
    JSON.parse(await says(['get', 'cl', '-o', 'json'])) as { name: string }[],
    parse(await says(['get', 'cluster', '-o', 'yaml'])) as { name: string }[],
  ]
  expect(text.split('\n')[0]).toMatch(/^NAME +STATE +REGION +NETWORK/)
  expect(text).not.toContain('\u001b')
  expect(json).toEqual(yaml)
  for (const { name } of json) expect(text).toContain(name)
  const one: unknown = JSON.parse(await says(['get', 'clusters', 'paris-2', '-o', 'json']))
  expect(one).toEqual(json.find(({ name }) => name === 'paris-2'))
})

test('every noun is one of the API, and every column shows a field that its objects have', async () => {
  const api = await openApi()
  for (const noun of nouns.filter(({ read }) => !read)) {
    const known = Object.keys(propertiesOf(api, noun.path))
    const read = new Set<string>()
    const row = new Proxy({}, { get: (_, name) => void read.add(String(name)) })
    for (const [, text] of noun.columns) text(row, 0)
    expect(known, noun.name).toEqual(expect.arrayContaining([...read]))
    const { rows } = await readAsked(here(), noun, {})
    const text = render({ rows, columns: noun.columns, single: false }, 'table', 0)
    expect(text.trimEnd().split('\n'), noun.name).toHaveLength(rows.length + 1)
  }
})

test('apply and delete: one line each, file and line of what is refused, a dry run changes nothing', async () => {
  const file = at('objects.yaml')
  const exported = 'kind: ServiceExport\nmetadata: { name: web, namespace: shop }\nspec: { consumers: [paris-1] }\n'
  writeFileSync(file, `kind: Cluster\nmetadata: { name: rome-1 }\nspec: { region: eu-south-1 }\n---\n${exported}`)
  expect(await says(['apply', '-f', file, '--dry-run'])).toContain('Cluster rome-1 created (dry run)')
  expect(await says(['get', 'clusters'])).not.toContain('rome-1')
  const applied = await says(['apply', '-f', file])
  expect(applied).toBe('Cluster rome-1 created\nServiceExport shop/web created\n')
  expect(await says(['apply', '-f', file])).toBe(
    'Cluster rome-1 exists, unchanged\nServiceExport shop/web configured\n',
  )
  expect(await says(['delete', '-f', file])).toBe('Cluster rome-1 deleted\nServiceExport shop/web deleted\n')

  writeFileSync(file, `${exported}---\nkind: Gateway\nmetadata: { name: g }\n---\n${exported}`)
  const mixed = await isthmus([...good(), 'apply', '-f', file])
  expect(mixed.code).toBe(1)
  expect(mixed.out.split('\n')).toHaveLength(3)
  expect(mixed.err).toContain('apply failed: the centre keeps no Gateway, only Cluster, ServiceExport, ')
  expect(mixed.err).toContain(`on          ${file}:5 (Gateway default/g)`)

  const grouped = 'spec: { services: { names: [web] }, tiers: [{ targets: [{ group: all }] }], unlisted: last }'
  const group = 'kind: SamenessGroup\nmetadata: { name: all }\nspec: { clusters: [] }'
  writeFileSync(
    file,
    `kind: GlobalTrafficPolicy\nmetadata: { name: web, namespace: shop }\n${grouped}\n---\n${group}\n`,
  )
  const later = await isthmus([...good(), 'apply', '-f', file])
  expect(later).toMatchObject({ code: 1, out: 'SamenessGroup all created\n' })
  expect(later.err).toContain('group "all" names nobody: none of its clusters is in this mesh')
  writeFileSync(file, `${group}\n---\nkind: GlobalTrafficPolicy\nmetadata: { name: web, namespace: shop }\n`)
  expect(await says(['delete', '-f', file])).toBe('GlobalTrafficPolicy shop/web deleted\nSamenessGroup all deleted\n')

  writeFileSync(file, 'kind: Cluster\nmetadata: { name: x\nspec: {}\n')
  const broken = await isthmus([...good(), 'apply', '-f', file])
  expect(broken).toMatchObject({ code: 1, out: '' })
  expect(broken.err).toMatch(/^isthmus: apply failed: .*not YAML.*\n {2}on {10}.*objects\.yaml:\d+\n/)

  const piped = await isthmus([...good(), 'apply', '-f', '-'], {}, 'kind: Cluster\nmetadata: { name: Not_A_Label }\n')
  expect(piped).toMatchObject({ code: 1 })
  expect(piped.err).toContain('on          -:1 (Cluster Not_A_Label)')
})

test('contexts: added, listed, chosen; the key comes from a file or from the environment', async () => {
  const ca = join(data, 'control-plane-ca.pem')
  const key = readFileSync(join(data, 'admin.key'), 'utf8')
  const added = await isthmus(['context', 'add', 'here', ...good()])
  expect(added).toMatchObject({ code: 0, err: '' })
  expect(readFileSync(at('config/isthmus/config.yaml'), 'utf8')).not.toContain(key.trim())
  await isthmus(['context', 'add', 'there', '--url', 'https://127.0.0.1:1', '--ca-file', 'centre/control-plane-ca.pem'])
  expect(readFileSync(at('config/isthmus/config.yaml'), 'utf8')).toContain(`caFile: ${ca}`)
  expect((await isthmus(['context', 'list'])).out).toMatch(/\* +here/)
  expect(await isthmus(['get', 'meshes'])).toMatchObject({ code: 0 })
  expect(await isthmus(['context', 'use', 'there'])).toMatchObject({ code: 0 })
  expect(await isthmus(['get', 'meshes', '--context', 'here'])).toMatchObject({ code: 0 })
  expect(await isthmus(['context', 'use', 'nowhere'])).toMatchObject({ code: 1 })
  const env = { ISTHMUS_URL: url, ISTHMUS_CA_FILE: ca, ISTHMUS_API_KEY: `${key}\n` }
  expect(await isthmus(['get', 'meshes'], env)).toMatchObject({ code: 0 })
})

test.each([
  ['no centre chosen', () => ['get', 'clusters'], 1, /no centre is chosen\n.*\n.*npm start.*isthmus context add/],
  ['no key', () => good().slice(0, 4).concat('get', 'clusters'), 1, /credential is missing.*\n.*\n.*--key-file/],
  ['a key file that is none', () => [...good().slice(0, 4), '--key-file', at('no.key'), 'status'], 1, /no\.key/],
  [
    'a wrong CA',
    () => [...good(), '--ca-file', otherCa(), 'get', 'clusters'],
    1,
    /a CA that is not known here\n.*\n.*--ca-file/,
  ],
  ['a CA file without one', () => [...good(), '--ca-file', emptyCa(), 'status'], 1, /holds no PEM certificate/],
  [
    'serve with an unknown option',
    () => ['serve', '--frob'],
    2,
    /^isthmus serve: Unknown option '--frob'; see: .*--help\n$/,
  ],
  [
    'relay with an unknown option',
    () => ['relay', '--frob'],
    2,
    /^isthmus relay: Unknown option '--frob'; see: .*--help\n$/,
  ],
  ['relay with no token file', () => ['relay', '--dir', home, '--join-file', '/no'], 1, /--join-file, \/no, cannot be/],
  ['serve with no such level', () => ['serve', '--log-level', 'loud'], 1, /--log-level "loud" is none: give one of/],
])('%s: what failed, on what, and what mends it', async (_, args, code, text) => {
  const ran = await isthmus(args())
  expect(ran).toMatchObject({ code, out: '' })
  expect(ran.err).toMatch(text)
  expect(ran.err).not.toMatch(/\n\s+at /)
})

test.each([
  [
    'HOME is a file',
    { HOME: '/etc/passwd', XDG_CONFIG_HOME: '' },
    /a part of its path is a file\n.*\/etc\/passwd\/\.config\//,
  ],
  [
    'HOME takes no writes',
    { HOME: '/sys', XDG_CONFIG_HOME: '' },
    /cannot be written.*\n.*\/sys\/\.config\/isthmus\/config\.yaml\n/,
  ],
  [
    'HOME makes no directories and says so oddly',
    { HOME: '/proc', XDG_CONFIG_HOME: '' },
    /takes no directories\n.*\/proc\/\.config\/isthmus\/config\.yaml\n/,
  ],
  [
    'XDG_CONFIG_HOME is a file',
    { XDG_CONFIG_HOME: '/etc/passwd' },
    /a part of its path is a file\n.*\/etc\/passwd\/isthmus\//,
  ],
])('%s: no context can be kept, which is said, and a call that needs none goes on', async (_, env, text) => {
  const kept = await isthmus(['context', 'add', 'x', ...good()], env)
  expect(kept).toMatchObject({ code: 1, out: '' })
  expect(kept.err).toMatch(text)
  expect(kept.err).toContain('set XDG_CONFIG_HOME to a directory that can be written')
  expect(kept.err.trim().split('\n')).toHaveLength(3)
  expect(await isthmus([...good(), 'get', 'meshes'], env)).toMatchObject({ code: 0, err: '' })
})

test('a context file that cannot be understood or opened is named, and a call that needs none goes on', async () => {
  mkdirSync(at('config/isthmus'), { recursive: true })
  writeFileSync(at('config/isthmus/config.yaml'), 'contexts: [')
  const broken = await isthmus(['status'])
  expect(broken).toMatchObject({ code: 1, out: '' })
  expect(broken.err).toMatch(/this is not a context file: .*\n.*config\.yaml\n/)
  expect(await isthmus([...good(), 'get', 'meshes'])).toMatchObject({ code: 0, err: '' })
  rmSync(at('config/isthmus/config.yaml'))
  mkdirSync(at('config/isthmus/config.yaml'))
  expect((await isthmus(['status'])).err).toMatch(/cannot be read: it is a directory\n.*config\.yaml\n/)
})

test('a context that is there is changed in what is given, and one that is not current says so', async () => {
  await isthmus(['context', 'add', 'here', ...good()])
  const relays = ['--relay', 'oslo-1=http://127.0.0.1:1']
  expect(await isthmus(['context', 'add', 'here', ...relays])).toMatchObject({ code: 0, err: '' })
  expect(await isthmus(['status', '-o', 'json'])).toMatchObject({ code: 0 })
  expect((await isthmus(['status'])).out).toMatch(/oslo-1 +relay does not answer/)
  const second = await isthmus(['context', 'add', 'there', '--url', 'https://127.0.0.1:1'])
  expect(second.out).toContain('stays here; to change that:\n  npx --no -- isthmus context use there\n')
  expect((await isthmus(['context', 'delete', 'here'])).out).toContain('None is current now')
  expect((await isthmus(['context', 'list'])).out.trim().split('\n')).toHaveLength(2)
})

test('output that cannot be written is an error as any other; a reader that is gone is none', async () => {
  const line = (to: string) =>
    `"${process.execPath}" "${join(root, 'cli/isthmus.js')}" ${good().join(' ')} get meshes ${to}`
  expect(await sh(`${line('>/dev/full')}; echo "$?"`)).toEqual({
    code: 0,
    out: '1\n',
    err:
      'isthmus: the output cannot be written: its disk is full\n  on          standard output\n' +
      '  to mend it  make room, or send it elsewhere\n',
  })
  expect(await sh(`{ ${line('')}; echo "$?" >&2; } | true`)).toMatchObject({ out: '', err: '0\n' })
})

test('the centre away: status answers from the relays and says so; all away: exit code 1', async () => {
  const relay = await fakeRelay()
  const { port } = relay.address() as AddressInfo
  mkdirSync(at('config/isthmus'), { recursive: true })
  const relays = { 'paris-1': `http://127.0.0.1:${port}`, 'paris-2': 'http://127.0.0.1:1' }
  const config = { current: 'c', contexts: { c: { url: 'https://127.0.0.1:1', relays } } }
  writeFileSync(at('config/isthmus/config.yaml'), JSON.stringify(config))
  const ran = await isthmus(['status'])
  expect(ran).toMatchObject({ code: 0, err: '' })
  expect(ran.out).toMatch(
    /^centre away for 2 min; shown: what the relays serve, revision 41\n.*nothing listens there\n/,
  )
  expect(ran.out).toMatch(/paris-1 +serving +eu-west-3 +away 2 min +41 +2/)
  expect(ran.out).toMatch(/paris-2 +relay does not answer/)
  expect(ran.out).toMatch(/manifests\/x\.yaml:3 +.*not YAML/)
  relay.close()
  expect(await isthmus(['status'])).toMatchObject({ code: 1 })
})

test('bash completes commands, names that only the centre knows, and files', async () => {
  await says(['cluster', 'create', 'tabbed-1'])
  const launcher = `"${process.execPath}" "${join(root, 'cli/isthmus.js')}"`
  const tab = ([line, current]: readonly string[]) =>
    `COMP_LINE='isthmus ${line}'; COMP_POINT=\${#COMP_LINE}; COMP_WORDS=(isthmus ${current}); COMP_CWORD=1; ` +
    `_isthmus; echo "\${COMPREPLY[*]}"`
  const lines = [
    ['stat', 'stat'],
    [`${good().join(' ')} cluster delete tabb`, 'tabb'],
    [`--key-file ${data}/adm`, `${data}/adm`],
    ['get clusters --output=y', 'y'],
    ['get clusters --output=', '='],
  ]
  const script = `source <(${launcher} completion bash); complete -p isthmus; ${lines.map(tab).join('; ')}`
  const ran = await bash(script)
  const expected = [
    'complete -F _isthmus isthmus',
    'status',
    'tabbed-1',
    `${data}/admin.key`,
    'yaml',
    'table json yaml',
  ]
  expect(ran).toEqual({ code: 0, err: '', out: `${expected.join('\n')}\n` })
})

test('--watch prints what changes, and only that', async () => {
  await says(['cluster', 'create', 'watched-0'])
  const child = spawn(process.execPath, [join(root, 'cli/isthmus.js'), ...good(), 'get', 'clusters', '--watch'], {
    env: { PATH: process.env['PATH'], HOME: home },
  })
  try {
    let out = ''
    child.stdout.on('data', (part: Buffer) => (out += part.toString()))
    await eventually(20_000, 'the first table', () => out.includes('watched-0'))
    out = ''
    await says(['cluster', 'create', 'watched-1'])
    await eventually(20_000, 'the new line', () => out.includes('watched-1'))
    expect(out.trim().split('\n')).toHaveLength(1)
  } finally {
    child.kill()
  }
})

test('a reader that leaves early is no error', async () => {
  const line = `"${process.execPath}" "${join(root, 'cli/isthmus.js')}" ${good().join(' ')} get clusters --watch | head -1; echo "$?"`
  setTimeout(() => void says(['cluster', 'create', 'watched-2']), 2500)
  expect((await sh(line)).err).toBe('')
})

const sh = (line: string): Promise<Ran> => shell('sh', line)
const bash = (line: string): Promise<Ran> => shell('bash', line)

function shell(program: string, line: string): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(program, ['-c', line], { env: { PATH: process.env['PATH'], HOME: home } })
    let [out, err] = ['', '']
    child.stdout.on('data', (part: Buffer) => (out += part.toString()))
    child.stderr.on('data', (part: Buffer) => (err += part.toString()))
    child.once('close', (code) => resolve({ code, out, err }))
  })
}

type Schema = {
  readonly $ref?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
}
type OpenApi = {
  readonly paths: Readonly<Record<string, { readonly get: { readonly responses: Readonly<Record<string, Content>> } }>>
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> }
}
type Content = { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }

/** The centre as the administrator calls it. */
const here = (): Centre => ({
  ...{ url, relays: {}, ca: readFileSync(join(data, 'control-plane-ca.pem'), 'utf8') },
  key: readFileSync(join(data, 'admin.key'), 'utf8').trim(),
})

async function openApi(): Promise<OpenApi> {
  return (await callCentre(here(), { method: 'GET', path: '/v1/openapi.json' })).body as OpenApi
}

/** The fields of one object in the list that a path answers with. */
function propertiesOf({ paths, components }: OpenApi, path: string): Readonly<Record<string, Schema>> {
  const resolve = (schema: Schema = {}): Schema =>
    schema.$ref ? (components.schemas[schema.$ref.split('/').at(-1) ?? ''] ?? {}) : schema
  const list = paths[path]?.get.responses['200']?.content['application/json']?.schema
  return resolve(resolve(resolve(list).properties?.['items']).items).properties ?? {}
}

/** The CA of nobody: a certificate that signed nothing here. */
function otherCa(): string {
  writeFileSync(at('other.pem'), other)
  return at('other.pem')
}

function emptyCa(): string {
  writeFileSync(at('empty.pem'), 'nothing')
  return at('empty.pem')
}

function fakeRelay(): Promise<Server> {
  const status = {
    ...{ state: 'serving', region: 'eu-west-3', config: { revision: 41 }, proxies: [{}, {}] },
    centre: { state: 'away', since: Date.now() - 120_000 },
    rejected: [{ at: 'manifests/x.yaml:3', object: 'x', reason: 'not YAML' }],
  }
  const server = createServer((_, answer) => answer.end(JSON.stringify(status)))
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

const other = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUBOB9QtO1PmQ+dd8u2DqRsnkmpVowCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTIxMTUyOTU2WhgPMjEyNjEwMjgxNTI5
NTZaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
3w69Ja1bZFq2B1bu4mxAIBAOdSIJhEsZGEc9E8NBIIT4dJBg0ZsxXB5oVm7v4z1U
32lCPxoniHIqEofCN7Rx0aNTMFEwHQYDVR0OBBYEFHFe70nuEtY+utPwndlq4sGr
STC4MB8GA1UdIwQYMBaAFHFe70nuEtY+utPwndlq4sGrSTC4MA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgTNfJ/BXwdukfF3NoHXIwd2VKmojiHu0P
BgrTmG4eQIsCIQD7yDd4rjN6LglPFawbpXby+jYFif9Vr7I0xsk4rOiiBQ==
-----END CERTIFICATE-----
`
