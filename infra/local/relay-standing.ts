import { get } from 'node:http'
import { type ClusterPlan, relayAddress, statusPort } from './plan.ts'

/** How a relay says that its line to the centre stands (`connected`, `refused`, `away`, …), and why. */
export type RelayStanding = { readonly state: string; readonly reason?: string }

const settledMs = 15_000
const lookMs = 100
const bytesMax = 4 * 1024 * 1024

/** Asks the relay until it is connected or refused, or for 15 seconds: gives what it said last. */
export async function relayStanding(cluster: ClusterPlan, signal: AbortSignal): Promise<RelayStanding> {
  for (const end = Date.now() + settledMs; ; ) {
    const { state, reason } = await askRelay(cluster)
    if (state === 'connected' || state === 'refused' || Date.now() > end || signal.aborted)
      return { state, ...(reason === undefined ? {} : { reason }) }
    await new Promise((resolve) => setTimeout(resolve, lookMs))
  }
}

/** What a relay says of itself, in short; `silent` where it does not answer within half a second. */
export type RelayAnswer = RelayStanding & {
  /** How its line to the centre stands; absent before it joined. */
  readonly line?: string
  readonly lastHeardAt?: number
  readonly revision?: number
  readonly proxies?: number
}

export function askRelay(cluster: ClusterPlan): Promise<RelayAnswer> {
  return new Promise((resolve) => {
    const silent = () => resolve({ state: 'silent', reason: 'it does not answer at its status address' })
    const options = { host: relayAddress(cluster), port: statusPort, path: '/status', timeout: 500, agent: false }
    const request = get(options, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part
        if (text.length > bytesMax) answer.destroy()
      })
      answer.on('error', silent)
      answer.on('close', () => resolve(parse(text) ?? { state: 'silent' }))
    })
    request.on('timeout', () => request.destroy())
    request.on('error', silent)
  })
}

type Said = {
  state?: string
  centre?: { state?: string; reason?: string; lastHeardAt?: number }
  config?: { revision?: number }
  proxies?: unknown[]
}

function parse(text: string): RelayAnswer | undefined {
  try {
    const { state, centre, config, proxies } = JSON.parse(text) as Said
    const { reason, lastHeardAt } = centre ?? {}
    const { revision } = config ?? {}
    return {
      state: centre?.state ?? state ?? 'starting',
      ...(centre?.state === undefined ? {} : { line: centre.state }),
      ...(reason === undefined ? {} : { reason }),
      ...(lastHeardAt === undefined ? {} : { lastHeardAt }),
      ...(revision === undefined ? {} : { revision }),
      ...(proxies === undefined ? {} : { proxies: proxies.length }),
    }
  } catch {
    return undefined
  }
}
