import { Agent, request } from 'node:http'
import { Client, credentials } from '@grpc/grpc-js'
import type { Target } from '#tests/support/protocol-client.ts'
import { echoService, parseSaid } from '#tests/support/protocols.ts'

/** One call: when it began and ended by `performance.now()`, and who answered what, or why nobody did. */
export type Call = {
  readonly begun: number
  readonly ended: number
  /** Of HTTP; what gRPC says instead of an answer is a fault. */
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

type Answer = Pick<Call, 'status' | 'cluster'>

/** Longer than any stall that the bars let pass. */
const timeoutMs = 15_000
const tickMs = 5
/** A machine that stood still is not made up for all at once. */
const burstMax = 20

/** `orders`: POSTs, each with a number of its own in `x-order`; else GETs. */
export function startCalls(to: Target, perSecond: number, orders?: string): Calls {
  const agent = new Agent({ keepAlive: true, maxSockets: 2000 })
  const ask = (n: number) => answerTo(to, agent, orders && `${orders}-${n}`)
  return steadily(perSecond, ask, () => agent.destroy())
}

/** Unary calls on one connection to the own proxy; `orders` as above, in the message. */
export function startGrpcCalls(to: Target, perSecond: number, orders?: string): Calls {
  const client = new Client(`${to.address}:${to.port}`, credentials.createInsecure(), {
    'grpc.default_authority': `${to.host}:${to.port}`,
    'grpc.use_local_subchannel_pool': 1,
  })
  const path = echoService['say']?.path ?? ''
  const asIs = (bytes: Buffer): Buffer => bytes
  const ask = (n: number) =>
    new Promise<Answer>((resolve, reject) => {
      const message = Buffer.from(orders === undefined ? 'look' : `order ${orders}-${n}`)
      const deadline = Date.now() + timeoutMs
      client.makeUnaryRequest(path, asIs, asIs, message, { deadline }, (fault, answer) => {
        if (fault || !answer) reject(fault ?? new Error('no answer'))
        else resolve({ cluster: parseSaid(`${answer}`).cluster })
      })
    })
  return steadily(perSecond, ask, () => client.close())
}

function steadily(perSecond: number, ask: (n: number) => Promise<Answer>, over: () => void): Calls {
  const ended: Call[] = []
  const open = new Set<Promise<void>>()
  const started = performance.now()
  let given = 0
  let number = 0

  function begin(): void {
    const begun = performance.now()
    number += 1
    const one = ask(number)
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
    of: (since) =>
      ended.slice(ended.findLastIndex((one) => one.ended < since) + 1).filter(({ begun }) => begun >= since),
    open: () => open.size,
    settled,
    stop: async () => {
      clearInterval(timer)
      await settled()
      over()
    },
  }
}

function answerTo(to: Target, agent: Agent, order?: string): Promise<Answer> {
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
