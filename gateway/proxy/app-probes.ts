import { request as requestPlain } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { request as requestTls } from 'node:https'
import { connect, isIPv6, type Socket } from 'node:net'
import { frame, onMessages } from '#gateway/grpc/frames.ts'

/** A kubelet's probe of an application, as Kubernetes writes it, its port a number. */
export type AppProbe = {
  readonly timeoutMs: number
} & (
  | {
      readonly kind: 'http'
      readonly port: number
      readonly path: string
      readonly isTls: boolean
      readonly headers: Readonly<Record<string, string>>
    }
  | { readonly kind: 'tcp'; readonly port: number }
  | { readonly kind: 'grpc'; readonly port: number; readonly service: string }
)

/** By the path at which a kubelet asks for them: `/app-health/<container>/<readyz|livez|startupz>`. */
export type AppProbes = ReadonlyMap<string, AppProbe>

type Shape = Readonly<Record<string, unknown>>

/** Source: Kubernetes API, Probe. Undefined for what is none: JSON, an object of probes by path. */
export function parseAppProbes(text: string): AppProbes | undefined {
  try {
    const value: unknown = text === '' ? {} : JSON.parse(text)
    if (!isShape(value)) return undefined
    const all = Object.entries(value).map(([path, one]) => [path, parseProbe(one)] as const)
    const whole = all.flatMap(([path, one]) => (one && path.startsWith('/app-health/') ? [[path, one] as const] : []))
    return whole.length === all.length ? new Map(whole) : undefined
  } catch {
    return undefined
  }
}

function parseProbe(value: unknown): AppProbe | undefined {
  if (!isShape(value)) return undefined
  const seconds = Number(value['timeoutSeconds'] ?? 1)
  const timeoutMs = 1000 * (seconds >= 1 && seconds <= 3600 ? seconds : 1)
  const { httpGet, tcpSocket, grpc } = value
  const asked = [httpGet, tcpSocket, grpc].find(isShape)
  const port = Number(asked?.['port'])
  if (!asked || !(Number.isInteger(port) && port >= 1 && port <= 65_535)) return undefined
  if (tcpSocket) return { kind: 'tcp', timeoutMs, port }
  if (grpc) return { kind: 'grpc', timeoutMs, port, service: String(asked['service'] ?? '') }
  const path = String(asked['path'] ?? '/')
  const headers = Array.isArray(asked['httpHeaders']) ? asked['httpHeaders'].filter(isShape) : []
  return {
    ...{ kind: 'http', timeoutMs, port, isTls: asked['scheme'] === 'HTTPS' },
    path: path.startsWith('/') ? path : `/${path}`,
    headers: Object.fromEntries(headers.map((one) => [String(one['name']).toLowerCase(), String(one['value'] ?? '')])),
  }
}

const isShape = (value: unknown): value is Shape => typeof value === 'object' && value !== null && !Array.isArray(value)

/** What the application answered: an HTTP status, and a word for the log of whoever asks. */
export type Probed = { readonly code: number; readonly text: string }

/**
 * Probes the application at the pod's own address, from the one that redirection leaves alone, so that neither Envoy nor
 * mutual TLS is between them. Never throws: what does not answer is 503.
 */
export async function probeApp(probe: AppProbe, address: string): Promise<Probed> {
  const gone = new AbortController()
  const late = setTimeout(() => gone.abort(new Error(`no answer in ${probe.timeoutMs / 1000} s`)), probe.timeoutMs)
  const dial = { host: address, port: probe.port, localAddress: isIPv6(address) ? '::6' : '127.0.0.6' }
  try {
    if (probe.kind === 'http') return await askHttp(probe, dial, gone.signal)
    return await (probe.kind === 'tcp' ? askTcp(dial, gone.signal) : askGrpc(probe.service, dial, gone.signal))
  } catch (error) {
    return { code: 503, text: `the application at port ${probe.port}: ${(error as Error).message}` }
  } finally {
    clearTimeout(late)
  }
}

type Dial = { readonly host: string; readonly port: number; readonly localAddress: string }

/** As a kubelet: any certificate is good, and where it would be sent elsewhere is not followed. */
function askHttp(
  { path, headers, isTls }: AppProbe & { kind: 'http' },
  dial: Dial,
  signal: AbortSignal,
): Promise<Probed> {
  return new Promise((done, fail) => {
    const options = { ...dial, path, headers: { 'user-agent': 'kube-probe', ...headers }, agent: false, signal }
    const asking = isTls ? requestTls({ ...options, rejectUnauthorized: false }) : requestPlain(options)
    asking.on('error', (error) => fail(signal.aborted ? signal.reason : error))
    asking.on('response', (answer) => {
      const { statusCode: code = 503 } = answer
      answer.destroy()
      done({ code, text: `the application answered with ${code}` })
    })
    asking.end()
  })
}

function askTcp(dial: Dial, signal: AbortSignal): Promise<Probed> {
  return new Promise((done, fail) => {
    const socket = connect(dial)
    const end = () => socket.destroy(signal.reason as Error)
    signal.addEventListener('abort', end)
    socket.on('error', fail)
    socket.on('connect', () => {
      signal.removeEventListener('abort', end)
      socket.destroy()
      done({ code: 200, text: 'the application takes connections' })
    })
  })
}

const serving = 1

/** Source: grpc.health.v1.Health/Check: the service is field 1 of the question, the status field 1 of the answer. */
function askGrpc(service: string, dial: Dial, signal: AbortSignal): Promise<Probed> {
  const name = Buffer.from(service, 'utf8').subarray(0, 127)
  return new Promise((done, fail) => {
    const session = connectHttp2('http://application', { createConnection: (): Socket => connect(dial) })
    const end = (error: unknown, probed?: Probed): void => {
      session.destroy()
      if (probed) done(probed)
      else fail(error)
    }
    signal.addEventListener('abort', () => end(signal.reason))
    session.on('error', end)
    const stream = session.request({
      ...{ ':method': 'POST', ':path': '/grpc.health.v1.Health/Check', te: 'trailers' },
      ...{ 'content-type': 'application/grpc', 'user-agent': 'kube-probe' },
    })
    stream.on('error', end)
    let status: number | undefined
    onMessages(stream, 1024, (message) => {
      status = message[0] === 0x08 ? message[1] : 0
    })
    stream.on('end', () => {
      const isServing = status === serving
      end(undefined, {
        code: isServing ? 200 : 503,
        text: `the application ${isServing ? 'serves' : 'does not serve'}`,
      })
    })
    stream.end(frame(name.length === 0 ? name : Buffer.concat([Buffer.of(0x0a, name.length), name])))
  })
}
