import { execFile } from 'node:child_process'
import { get as getHttp, type IncomingMessage } from 'node:http'
import { get as getHttps } from 'node:https'
import { connect } from 'node:net'
import type { V1Container, V1Probe } from '@kubernetes/client-node'

export type Probed = {
  readonly podIp: string
  readonly container: V1Container
  /** Words before a command inside the container; undefined while it does not run. */
  readonly inside: () => readonly string[] | undefined
}

/**
 * Asks again and again, from after its first delay on, and says whenever `successThreshold` or `failureThreshold` answers
 * in a row were alike; until `stop`.
 */
export function startProbe(probe: V1Probe, probed: Probed, say: (passes: boolean) => void): { stop(): void } {
  const { initialDelaySeconds = 0, periodSeconds = 10, successThreshold = 1, failureThreshold = 3 } = probe
  let row = { passes: false, times: 0 }
  let over = false
  let timer = setTimeout(turn, initialDelaySeconds * 1000)
  async function turn(): Promise<void> {
    const passes = await isGood(probe, probed)
    if (over) return
    row = { passes, times: row.passes === passes ? row.times + 1 : 1 }
    if (row.times >= (passes ? successThreshold : failureThreshold)) say(passes)
    timer = setTimeout(turn, periodSeconds * 1000)
  }
  return {
    stop: () => {
      over = true
      clearTimeout(timer)
    },
  }
}

/** One answer, within its time. */
async function isGood({ httpGet, tcpSocket, exec, timeoutSeconds = 1 }: V1Probe, probed: Probed): Promise<boolean> {
  const ms = timeoutSeconds * 1000
  if (httpGet) {
    const { host = probed.podIp, port, path = '/', scheme = 'HTTP', httpHeaders = [] } = httpGet
    const headers = Object.fromEntries(httpHeaders.map(({ name, value }) => [name, value]))
    const asked = { host, port: portOf(port, probed.container), path, headers, timeout: ms }
    return scheme === 'HTTPS'
      ? answers(ms, (done) => getHttps({ ...asked, rejectUnauthorized: false, agent: false }, done))
      : answers(ms, (done) => getHttp({ ...asked, agent: false }, done))
  }
  if (tcpSocket) return accepts(tcpSocket.host ?? probed.podIp, portOf(tcpSocket.port, probed.container), ms)
  if (exec) return succeeds(probed.inside(), exec.command ?? [], ms)
  throw new Error(`the test kubelet knows no such probe: ${Object.keys(probed.container).join(', ')}`)
}

/** Of a status below 400, as Kubernetes has it. */
function answers(ms: number, ask: (done: (answer: IncomingMessage) => void) => ReturnType<typeof getHttp>) {
  return new Promise<boolean>((resolve) => {
    const request = ask((answer) => {
      answer.resume()
      clearTimeout(late)
      resolve((answer.statusCode ?? 500) < 400)
    })
    const late = setTimeout(() => request.destroy(new Error('late')), ms)
    request.on('error', () => {
      clearTimeout(late)
      resolve(false)
    })
  })
}

function accepts(host: string, port: number, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: ms })
    const end = (good: boolean) => () => {
      socket.destroy()
      resolve(good)
    }
    socket.on('connect', end(true)).on('error', end(false)).on('timeout', end(false))
  })
}

export function succeeds(
  inside: readonly string[] | undefined,
  command: readonly string[],
  ms: number,
): Promise<boolean> {
  const [program, ...words] = [...(inside ?? []), ...command]
  if (inside === undefined || program === undefined) return Promise.resolve(false)
  return new Promise((resolve) => {
    execFile(program, words, { timeout: Math.ceil(ms), killSignal: 'SIGKILL' }, (error) => resolve(error === null))
  })
}

export function portOf(port: number | string, { ports = [] }: V1Container): number {
  const found = typeof port === 'number' ? port : ports.find(({ name }) => name === port)?.containerPort
  return found ?? Number(port)
}
