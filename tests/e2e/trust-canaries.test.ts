import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { join } from 'node:path'
import { create, toBinary } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { callUnary } from '#gateway/proxy/grpc.ts'
import { IstioCertificateRequestSchema } from '#gen/istio/ca_pb.js'
import { relayPort } from '#infra/local/plan.ts'
import { csrOf, keyInHand } from '#tests/support/authorities.ts'
import { openCage, sightings, sightingsIn } from '#tests/support/canaries.ts'
import { useFleet } from '#tests/support/fleet.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

// Secrets are put into every input there is, and looked for in everything that anybody may read afterwards.

const fleet = useFleet({ a: { pods: { 'web-1': { app: 'web', ports: ['http'] } }, exports: { web: '*' } } })
const cage = openCage()
/** What was answered, printed or shown to whoever sent a secret, by where. */
const heard = new Map<string, string>()

/** There to hold a secret: nothing else may. */
const keyFiles =
  /(^|\/)([\w-]+\.key(\.\d+)?|token-key\.pem|[\w-]*passphrase[\w.-]*|membership\.json(\.\d+)?|tokens\/[^/]+|planted\/.*|manifests\/planted-.*)$/

const pem = (body: string) =>
  `-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49${body}\n-----END PRIVATE KEY-----\n`
const jwt = (tail: string) =>
  `${Buffer.from('{"alg":"ES256","kid":"x","typ":"JWT"}').toString('base64url')}.${Buffer.from('{"iss":"x","sub":"y"}').toString('base64url')}.${tail}`

type Sent = { readonly method?: string; readonly path: string; readonly headers?: object; readonly body?: string }

async function say(where: string, { method = 'GET', path, headers = {}, body }: Sent): Promise<void> {
  const { host, port, caFile } = fleet().centre
  const text = await new Promise<string>((resolve) => {
    const asked = request(
      {
        ...{ host, port, method, path, ca: readFileSync(caFile), agent: false, timeout: 5000 },
        headers: { 'content-type': 'application/json', ...headers },
      },
      (answer) => {
        let said = JSON.stringify(answer.headers)
        answer.on('data', (part) => {
          said += part
        })
        answer.on('close', () => resolve(said))
      },
    )
    asked.on('error', (fault) => resolve(fault.message))
    asked.end(body)
  })
  heard.set(where, text)
}

const asAdmin = () => ({
  authorization: `Bearer ${readFileSync(join(fleet().dir, 'centre/admin.key'), 'utf8').trim()}`,
})

async function plantAtTheCentre(): Promise<void> {
  const paths = [
    '/v1/clusters',
    '/v1/pull',
    '/v1/clusters/x/sync',
    '/v1/watch',
    '/v1/audit-events',
    '/metrics',
    '/nowhere',
  ]
  for (const path of paths) {
    const where = `bearer of ${path}`
    await say(where, { path, headers: { authorization: `Bearer isthmus_key_${cage.make(where)}` } })
  }
  for (const header of ['cookie', 'x-api-key', 'proxy-authorization', 'x-amz-security-token'])
    await say(header, { path: '/v1/clusters', headers: { ...asAdmin(), [header]: cage.make(header) } })
  await say('access token in a query', { path: `/v1/watch?access_token=${cage.make('access token in a query')}` })
  const bodies: Readonly<Record<string, readonly [path: string, body: (secret: string) => unknown]>> = {
    'join token': ['/v1/join', (it) => ({ token: `isthmus_join_${it}`, publicKey: 'x' })],
    'private key to join with': ['/v1/join', (it) => ({ token: 'x', publicKey: pem(it) })],
    assertion: ['/v1/token', (it) => ({ assertion: jwt(it) })],
    'password in a cluster': ['/v1/clusters', (it) => ({ name: 'b', password: it })],
    'name of a cluster': ['/v1/clusters', (it) => ({ name: 'c', token: { value: it } })],
    'key beside an operator key': ['/v1/operator-keys', (it) => ({ name: 'x', role: 'viewer', key: it })],
    'private key as an authority': ['/v1/authorities', (it) => ({ kind: 'root', certificate: 'x', key: pem(it) })],
    'passphrase in a rotation': ['/v1/rotations', (it) => ({ kind: 'nothing', passphrase: it })],
    'token in a revocation': ['/v1/revocations', (it) => ({ kind: 'nothing', subject: 'x', token: it })],
  }
  for (const [where, [path, body]] of Object.entries(bodies)) {
    const secret = cage.make(where)
    await say(where, { method: 'POST', path, headers: asAdmin(), body: JSON.stringify(body(secret)) })
    const cut = cage.make(`${where}, cut off`)
    const half = `{"token": "isthmus_join_${cut}`
    await say(`${where}, cut off`, { method: 'POST', path, headers: asAdmin(), body: half })
  }
  await say('private key as a foreign root', {
    ...{ method: 'PUT', path: '/v1/trust-domains/else.test', headers: asAdmin() },
    body: JSON.stringify({ roots: pem(cage.make('private key as a foreign root')) }),
  })
}

async function plantAtTheRelay(): Promise<void> {
  const { relayAddress } = fleet().cluster('a')
  const ask = async (where: string, headers: Record<string, string>, csr: string): Promise<void> => {
    const request = create(IstioCertificateRequestSchema, { csr })
    const told = await callUnary({
      ...{ host: relayAddress, port: relayPort, path: '/istio.v1.auth.IstioCertificateService/CreateCertificate' },
      headers,
      body: toBinary(IstioCertificateRequestSchema, request),
      tls: { ca: readFileSync(fleet().centre.caFile, 'utf8') },
      serverFault: () => undefined,
      deadlineMs: 5000,
      answerBytesMax: 262_144,
    }).then(String, (fault: Error) => fault.message)
    heard.set(where, told)
  }
  const csr = await csrOf(keyInHand())
  const token = (where: string) => cage.make(where)
  await ask('token that is no JWT', { authorization: `Bearer ${token('token that is no JWT')}` }, csr)
  await ask(
    'token with another signature',
    { authorization: `Bearer ${jwt(token('token with another signature'))}` },
    csr,
  )
  await ask('basic authorization', { authorization: `Basic ${token('basic authorization')}` }, csr)
  const honest = readFileSync(fleet().cluster('a').caller('visitor').tokenFile, 'utf8').trim()
  cage.keep('token of a pod', honest)
  const known = { authorization: `Bearer ${honest}` }
  await ask('private key as a request', known, pem(token('private key as a request')))
  await ask('text as a request', known, token('text as a request'))
}

/** As somebody's manifests have them: objects that are none of ours, and files that cannot be read. */
function plantInManifests(): void {
  const dir = join(fleet().cluster('a').dir, 'manifests')
  const data = Buffer.from(cage.make('data of a Secret')).toString('base64')
  cage.keep('data of a Secret, encoded', data)
  const files: Readonly<Record<string, string>> = {
    secret: `apiVersion: v1\nkind: Secret\nmetadata: { name: s, namespace: shop }\ndata: { password: ${data} }\nstringData: { token: ${cage.make('string data of a Secret')} }\n`,
    config: `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: c, namespace: shop }\ndata: { url: 'postgres://u:${cage.make('password in a URL')}@db/x' }\n`,
    pod: `apiVersion: v1\nkind: Pod\nmetadata: { name: p, namespace: shop }\nspec:\n  serviceAccountName: web\n  containers: [{ name: app, image: x, env: [{ name: TOKEN, value: ${cage.make('environment of a pod')} }] }]\n`,
    broken: `apiVersion: v1\nkind: Secret\ndata: { password: ${cage.make('a file that is not YAML')}\n  key: [\n`,
    service: `apiVersion: v1\nkind: Service\nmetadata: { name: S_, namespace: shop, annotations: { token: ${cage.make('annotation of a Service')} } }\nspec: {}\n`,
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, `planted-${name}.yaml`), text)
}

/** Runs a program of ours with a secret in its environment, its files or its flags, and keeps what it prints. */
function runWith(where: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<void> {
  return new Promise((resolve) => {
    const home = join(fleet().dir, 'planted')
    mkdirSync(home, { recursive: true })
    const all = { PATH: process.env['PATH'], HOME: home, XDG_CONFIG_HOME: home, ...env }
    execFile(
      process.execPath,
      [join(root, 'cli/isthmus.js'), ...args],
      { env: all, timeout: 20_000 },
      (_, out, err) => {
        heard.set(where, out + err)
        resolve()
      },
    )
  })
}

async function plantInPrograms(): Promise<void> {
  const { host, port, caFile } = fleet().centre
  const planted = join(fleet().dir, 'planted')
  mkdirSync(planted, { recursive: true })
  const file = (name: string, text: string): string => {
    writeFileSync(join(planted, name), text, { mode: 0o600 })
    return join(planted, name)
  }
  const at = ['--url', `https://${host}:${port}`, '--ca-file', caFile]
  const secret = (where: string) => cage.make(where)
  await runWith('operator key in the environment', [...at, 'status'], {
    ISTHMUS_API_KEY: `isthmus_key_${secret('operator key in the environment')}`,
  })
  await runWith('operator key file', [
    ...at,
    '--key-file',
    file('bad.key', `isthmus_key_${secret('operator key file')}`),
    'clusters',
  ])
  await runWith('key file with a PEM', [
    ...at,
    '--key-file',
    file('pem.key', pem(secret('key file with a PEM'))),
    'clusters',
  ])
  await runWith('private key to verify', [
    'trust',
    'verify',
    file('x.pem', pem(secret('private key to verify'))),
    '--roots',
    caFile,
  ])
  await runWith('URL with a password', ['--url', `https://u:${secret('URL with a password')}@127.0.0.1:1`, 'status'])
  const manifest = `kind: Cluster\nmetadata: { name: x }\nspec: { token: ${secret('manifest to apply')} }\n`
  await runWith('manifest to apply', [...at, 'apply', '--dry-run', '-f', file('x.yaml', manifest)])
  await runWith('passphrase as a flag', [
    'serve',
    '--data',
    join(planted, 'd1'),
    '--passphrase',
    secret('passphrase as a flag'),
  ])
  await runWith('passphrase that is short', ['serve', '--data', join(planted, 'd2'), '--passphrase', 'env:P'], {
    P: secret('passphrase that is short').slice(0, 15),
  })
  const other = join(planted, 'd3')
  mkdirSync(other, { recursive: true })
  await runWith('database URL', ['serve', '--data', other], {
    DATABASE_URL: `postgres://u:${secret('database URL')}@127.0.0.1:1/x`,
  })
}

/** What the programs made themselves. */
async function keepTheirOwn(): Promise<void> {
  const { dir, centre } = fleet()
  const made = (await centre.call('POST', '/v1/operator-keys', { name: 'ops', role: 'viewer' })) as { key: string }
  cage.keep('operator key that was made', made.key)
  const join_ = (await centre
    .call('POST', '/v1/clusters', { name: 'later' })
    .then(() => centre.call('POST', '/v1/clusters/later/join-tokens'))) as { token: string }
  cage.keep('join token that was made', join_.token)
  for (const name of readdirSync(join(dir, 'centre')).filter((one) => /\.key$|passphrase/.test(one)))
    cage.keep(`centre ${name}`, readFileSync(join(dir, 'centre', name), 'utf8'))
  const state = join(fleet().cluster('a').dir, 'state')
  for (const name of ['issuing.key', 'serving.key']) {
    const text = readFileSync(join(state, name), 'utf8')
    const [, body = ''] = /BEGIN PRIVATE KEY-----\\n([^\\-]+)/.exec(text) ?? []
    expect(body, name).toHaveLength(64)
    cage.keep(`${name} of the relay`, body)
  }
  cage.keep('token key of the cluster', readFileSync(join(fleet().cluster('a').dir, 'token-key.pem'), 'utf8'))
}

test('fifty secrets planted, none found', { timeout: 180_000 }, async () => {
  await plantAtTheCentre()
  await plantAtTheRelay()
  plantInManifests()
  await plantInPrograms()
  await keepTheirOwn()
  const { centre } = fleet()
  const a = fleet().cluster('a')
  await eventually(20_000, 'the relay has set the broken file aside', async () =>
    JSON.stringify((await a.status())['rejected']).includes('planted-broken'),
  )
  const pages = [
    'clusters',
    'audit-events',
    'operator-keys',
    'authorities',
    'trust-bundles',
    'cluster-configs',
    'services',
  ]
  for (const page of pages) heard.set(`/v1/${page}`, JSON.stringify(await centre.call('GET', `/v1/${page}`)))
  heard.set('/metrics of the centre', String(await centre.call('GET', '/metrics')))
  heard.set('/status of the relay', JSON.stringify(await a.status()))
  heard.set('/metrics of the relay', JSON.stringify([...(await a.metrics('')).entries()]))
  heard.set('config of an Envoy', await a.pod('web-1').admin('/config_dump'))
  process.kill(a.relayPid(), 'SIGABRT')
  process.kill(centre.pid(), 'SIGABRT')
  await eventually(10_000, 'both have died', () => {
    try {
      return !centre.pid() && !a.relayPid()
    } catch {
      return true
    }
  })

  const canaries = cage.all()
  expect(canaries.length).toBeGreaterThanOrEqual(50)
  expect(new Set(canaries.map(({ text }) => text)).size).toBe(canaries.length)
  const seen = [
    ...[...heard].flatMap(([where, text]) => sightings(canaries, text, `what was told of "${where}"`)),
    ...sightingsIn(fleet().dir, canaries, (path) => keyFiles.test(path)),
  ]
  expect(seen).toEqual([])
  expect(existsSync(join(root, 'core')), 'a crash dump').toBe(false)
})
