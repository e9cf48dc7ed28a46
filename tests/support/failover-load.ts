import { Agent, request } from 'node:http'
import type { Target } from '#tests/support/protocol-client.ts'
import { parseSaid } from '#tests/support/protocols.ts'

/** One call: when it began and ended by `performance.now()`, and who answered what, or why nobody did. */
export type Call = {
  readonly begun: number
  readonly ended: number
  readonly status?: number
  readonly cluster?: string
  readonly fault?: string
}

/** Calls of one kind at a steady rate, whatever their answers take. */
export type Calls = {
  /** Those that have ended, in the order of their ends; `since` = begun from then on. */
  of(since: number): readonly Call[]
  /** How many are under way. */
  open(): number
  /** Resolves when all that are under way now have ended. */
  settled(): Promise<void>
  stop(): Promise<void>
}

/** Longer than any stall that the bars let pass. */
const timeoutMs = 15_000
const tickMs = 5
/** A machine that stood still is not made up for all at once. */
const burstMax = 20

/** `orders`: POSTs, each with a number of its own in `x-order`; else GETs. */
export function startCalls(to: Target, perSecond: number, orders?: string): Calls {
  const agent = new Agent({ keepAlive: true, maxSockets: 2000 })
  const ended: Call[] = []
  const open = new Set<Promise<void>>()
  const started = performance.now()
  let given = 0
  let number = 0

  function begin(): void {
    const begun = performance.now()
    number += 1
    const one = answerTo(to, agent, orders && `${orders}-${number}`)
      .then(
        (answer) => answer,
        (fault: Error) => ({ fault: fault.message }),
      )
      .then((answer) => {
        ended.push({ begun, ended: performance.now(), ...answer })
        open.delete(one)
      })
    open.add(one)
  }

  const timer = setInterval(() => {
    const owed = Math.floor(((performance.now() - started) * perSecond) / 1000) - given
    given += owed
    for (let left = Math.min(owed, burstMax); left > 0; left--) begin()
  }, tickMs)
  const settled = async () => {
    await Promise.all(open)
  }
  return {
    of: (since) => ended.filter(({ begun }) => begun >= since),
    open: () => open.size,
    settled,
    stop: async () => {
      clearInterval(timer)
      await settled()
      agent.destroy()
    },
  }
}

function answerTo(to: Target, agent: Agent, order?: string): Promise<Pick<Call, 'status' | 'cluster'>> {
  const { address, port, host } = to
  const headers = { host: `${host}:${port}`, ...(order === undefined ? {} : { 'x-order': order }) }
  const method = order === undefined ? 'GET' : 'POST'
  return new Promise((resolve, reject) => {
    const call = request({ host: address, port, agent, method, headers, timeout: timeoutMs }, (answer) => {
      let text = ''
      answer.setEncoding('utf8')
      answer.on('data', (part) => {
        text += part
      })
      answer.on('error', reject)
      answer.on('end', () => {
        const status = answer.statusCode ?? 0
        try {
          resolve({ status, cluster: parseSaid(text).cluster })
        } catch {
          reject(new Error(`${status}: ${text.slice(0, 120)}`))
        }
      })
    })
    call.on('timeout', () => call.destroy(new Error(`no answer in ${timeoutMs} ms`)))
    call.on('error', reject)
    call.end()
  })
}
