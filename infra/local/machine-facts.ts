import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const hourMs = 3_600_000

/** What was found on this machine: `linux x64 · Node 24 · Envoy 1.40.0 cached · ports free`. Throws where the Envoy does not run. */
export async function machineFacts(envoy: string): Promise<string> {
  const node = process.versions.node.split('.')[0]
  const where = /\/isthmus\/envoy-[^/]+\/envoy$/.test(envoy) ? 'cached' : `at ${envoy}`
  return `${process.platform} ${process.arch} · Node ${node} · Envoy ${await versionOf(envoy)} ${where} · ports free`
}

/** When the user's command began, as the door of the npm scripts says; now where nobody does. */
export function startedAt(env: Readonly<Record<string, string | undefined>>, now: number): number {
  const at = Number(env['ISTHMUS_STARTED_AT'])
  return Number.isFinite(at) && at <= now && at > now - hourMs ? at : now
}

async function versionOf(envoy: string): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(envoy, ['--version'], { timeout: 10_000 })
    const version = /\/(\d+\.\d+\.\d+)\//.exec(stdout)?.[1]
    if (version !== undefined) return version
    throw new Error('it does not say its version')
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message.split('\n')[0]
    throw new Error(`${envoy} is no Envoy that runs here (${reason}): start with "npm start", which gets one`, {
      cause,
    })
  }
}
