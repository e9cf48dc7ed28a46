import { type ChildProcess, spawn } from 'node:child_process'
import { fetchMinistack, findMinistack } from '#infra/setup/ministack.js'
import { freePort } from '#tests/support/flaky-line.ts'

export type Ministack = { readonly url: string; stop(): Promise<void> }

/** Its own administrator: signatures are checked, policies are enforced. */
export const rootCredentials = { accessKeyId: 'test', secretAccessKey: 'test' }

/**
 * An AWS of this suite's own on the loopback, fetched where it is not here yet. Throws where it cannot be had: a suite that
 * needs it fails, it is never skipped.
 */
export async function startMinistack(): Promise<Ministack> {
  const { command, args, env } = (await findMinistack()) ?? (await fetchMinistack())
  const port = await freePort()
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...env,
      BIND_HOST: '127.0.0.1',
      // It would listen on every interface otherwise.
      IOT_MTLS_ENABLED: '0',
      GATEWAY_PORT: String(port),
      AUTH: 'true',
      AWS_ACCESS_KEY_ID: rootCredentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: rootCredentials.secretAccessKey,
    },
  })
  const url = `http://127.0.0.1:${port}`
  await ready(url, child)
  return { url, stop: () => ended(child) }
}

/** Until it answers; throws what it said where it ends before. */
async function ready(url: string, child: ChildProcess): Promise<void> {
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4000)
    })
  for (let tries = 0; tries < 600; tries++) {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`MiniStack ended at once: ${said}`)
    const answer = await fetch(`${url}/_ministack/health`, { signal: AbortSignal.timeout(5000) }).catch(() => undefined)
    if (answer?.ok) return
    await new Promise((done) => setTimeout(done, 100))
  }
  await ended(child)
  throw new Error(`MiniStack does not answer: ${said}`)
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise((done) => child.once('exit', done))
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), 5000)
  await exit
  clearTimeout(late)
}
