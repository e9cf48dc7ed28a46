import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { staticBootstrap } from '#mesh/translate/testdata/bootstrap.ts'
import { type CaseText, caseOf } from '#mesh/translate/testdata/case.ts'
import { createTranslator } from '#mesh/translate/translate.ts'

export type Running = { readonly log: () => string; readonly stop: () => Promise<void> }

/** A certificate chain and its key, PEM. */
export type Leaf = { readonly chain: string; readonly key: string }

/**
 * A real Envoy with what the translator gives for one case, its certificate from files in place of `sds-grpc`. Resolves
 * once something listens at `ready`.
 */
export async function startEnvoy(
  text: CaseText,
  facts: {
    readonly envoy: string
    readonly dir: string
    readonly name: string
    readonly leaf: Leaf
    readonly ready: string
  },
): Promise<Running> {
  const { view, proxy } = caseOf(text)
  const file = (name: string, content: string) => {
    const path = join(facts.dir, `${facts.name}-${name}`)
    writeFileSync(path, content)
    return path
  }
  const secret = file(
    'default.json',
    JSON.stringify({
      resources: [
        {
          '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
          name: 'default',
          tls_certificate: {
            certificate_chain: { filename: file('chain.pem', facts.leaf.chain) },
            private_key: { filename: file('key.pem', facts.leaf.key) },
          },
        },
      ],
    }),
  )
  const bootstrap = staticBootstrap(createTranslator().resourcesFor(view, proxy))
  const config = JSON.stringify(bootstrap, (_, value: unknown) =>
    isSdsConfig(value) ? { name: value.name, sds_config: { path_config_source: { path: secret } } } : value,
  )
  const args = ['-c', file('bootstrap.json', config), '--concurrency', '1', '--disable-hot-restart', '-l', 'warning']
  const child = spawn(facts.envoy, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let log = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (data: Buffer) => {
      log = (log + data.toString()).slice(-20_000)
    })
  await listening(facts.ready, child, () => log)
  return { log: () => log, stop: () => stopped(child) }
}

const isSdsConfig = (value: unknown): value is { readonly name: string } =>
  value !== null && typeof value === 'object' && 'sds_config' in value && 'name' in value

async function listening(at: string, child: ChildProcess, log: () => string): Promise<void> {
  const [host = '', port] = at.split(':')
  for (let tries = 0; tries < 400; tries += 1) {
    if (child.exitCode !== null) throw new Error(`Envoy ended with ${child.exitCode}: ${log()}`)
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect({ host, port: Number(port) }, () => resolve(true))
      socket.on('error', () => resolve(false))
      socket.on('connect', () => socket.destroy())
    })
    if (open) return
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await stopped(child)
  throw new Error(`nothing listens at ${at} after 8 s: ${log()}`)
}

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await gone
}
