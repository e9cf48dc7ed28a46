import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { type ApiAnswer, call } from '#tests/support/channel.ts'
import { giveDatabase } from '#tests/support/database-template.ts'
import { type FaultProgram, faultProgram } from '#tests/support/fault-program.ts'
import { type FlakyLine, freePort, openFlakyLine } from '#tests/support/flaky-line.ts'
import { eventually } from '#tests/support/until.ts'

/** One cluster: a directory and its relay. */
export type FaultCluster = {
  readonly name: string
  readonly dir: string
  readonly manifests: string
  readonly stateDir: string
  readonly relay: FaultProgram
  status(): Promise<RelayStatus>
}

export type RelayStatus = {
  readonly state: string
  readonly centre: { readonly state: string; readonly streams: Readonly<Record<string, number>> }
  readonly config: { readonly revision?: number; readonly fault?: string }
}

/** A centre and its relays as real processes, and one line between them that fails as it is told. No proxies. */
export type FaultFleet = {
  readonly dir: string
  readonly line: FlakyLine
  readonly centre: FaultProgram
  readonly clusters: readonly FaultCluster[]
  api(method: string, path: string, body?: unknown): Promise<ApiAnswer>
  centreReady(): Promise<boolean>
  end(): Promise<void>
}

export async function startFaultFleet(names: readonly string[], databaseUrl?: string): Promise<FaultFleet> {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-faults-'))
  const port = await freePort()
  const line = await openFlakyLine(port)
  const data = join(dir, 'centre')
  const centre = faultProgram({
    entry: 'functions/server.ts',
    args: ['--listen', `127.0.0.1:${port}`, '--url', `https://127.0.0.1:${line.port}`, '--data', data],
    log: join(dir, 'centre.log'),
    ...(databaseUrl === undefined ? {} : { env: { DATABASE_URL: databaseUrl } }),
  })
  const api = (method: string, path: string, body?: unknown) =>
    call({
      ...{ url: `https://127.0.0.1:${port}${path}`, method, body },
      ca: readFileSync(join(data, 'control-plane-ca.pem'), 'utf8'),
      bearer: readFileSync(join(data, 'admin.key'), 'utf8').trim(),
    })
  const centreReady = () => api('GET', '/readyz').then(({ status }) => status === 200)
  const clusters: FaultCluster[] = []
  const end = async () => {
    await Promise.all([centre.kill(), ...clusters.map(({ relay }) => relay.kill())])
    await line.close()
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
  }
  try {
    if (databaseUrl === undefined) await giveDatabase(data)
    centre.start()
    await eventually(60_000, 'the centre is ready', centreReady)
    for (const name of names) {
      await api('POST', '/v1/clusters', { name })
      const { body } = await api('POST', `/v1/clusters/${name}/join-tokens`)
      clusters.push(await makeCluster(join(dir, name), name, String(body['token'])))
    }
    for (const { relay } of clusters) relay.start()
    await Promise.all(clusters.map((one) => eventually(60_000, `${one.name} serves`, () => serves(one))))
    return { dir, line, centre, clusters, api, centreReady, end }
  } catch (cause) {
    const logs = ['centre', ...names].map((name) => join(dir, `${name}.log`)).filter((file) => existsSync(file))
    const tails = logs.map((file) => `── ${file}\n${readFileSync(file, 'utf8').slice(-1500)}`).join('\n')
    await end()
    throw new Error(`the fleet did not come up: ${(cause as Error).message}\n${tails}`, { cause })
  }
}

const serves = async (one: FaultCluster): Promise<boolean> => (await one.status()).state === 'serving'

async function makeCluster(dir: string, name: string, token: string): Promise<FaultCluster> {
  const [port, statusPort] = [await freePort(), await freePort()]
  const manifests = join(dir, 'manifests')
  mkdirSync(manifests, { recursive: true })
  const tokenFile = join(dir, 'join-token')
  writeFileSync(tokenFile, token)
  writeFileSync(join(dir, 'jwks.json'), '{"keys":[]}')
  writeFileSync(
    join(dir, 'isthmus.yaml'),
    stringify({
      ...{ cluster: name, region: 'eu-1', network: `net-${name}` },
      gateways: [{ address: '127.0.1.1', port: 15443 }],
      // Not the centre's own address: no relay is certified for that.
      relay: { address: `127.99.0.${name.charCodeAt(0)}`, port, statusAddress: '127.0.0.1', statusPort },
      tokens: { issuer: `https://kubernetes.${name}.test` },
    }),
  )
  const relay = faultProgram({
    entry: 'gateway/main.ts',
    args: ['--dir', dir, '--join-file', tokenFile],
    log: `${dir}.log`,
  })
  return { name, dir, manifests, stateDir: join(dir, 'state'), relay, status: () => statusOf(statusPort) }
}

function statusOf(port: number): Promise<RelayStatus> {
  return new Promise((resolve, reject) => {
    const asked = get({ host: '127.0.0.1', port, path: '/status', agent: false, timeout: 2000 }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part: string) => {
        text += part
      })
      answer.on('error', reject)
      answer.on('end', () => resolve(JSON.parse(text) as RelayStatus))
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer')))
    asked.on('error', reject)
  })
}
