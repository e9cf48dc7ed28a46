import { request as requestPlain } from 'node:http'
import { request as requestTls } from 'node:https'

export type Sent = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** PEM of the authorities to accept; those of this machine where absent. */
  readonly ca?: string
  /** The connection stands after so long. */
  readonly connectMs: number
  /** No part of the answer may take longer. */
  readonly answerMs: number
}
export type Response = { readonly status: number; readonly text: string; readonly etag?: string }

/** One request over HTTP(S). Rejects where there is no complete answer; the error's `code` is Node's. */
export type Send = (url: URL, sent: Sent) => Promise<Response>

const answerBytesMax = 32 * 1024 * 1024

export const send: Send = (url, { method = 'GET', headers = {}, body, ca, connectMs, answerMs }) =>
  new Promise((resolve, reject) => {
    const isTls = url.protocol === 'https:'
    const options = {
      ...{ method, timeout: connectMs, agent: false as const },
      ...(ca === undefined ? {} : { ca }),
      headers: { ...headers, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) },
    }
    const outgoing = (isTls ? requestTls : requestPlain)(url, options, (incoming) => {
      const parts: Buffer[] = []
      let bytes = 0
      incoming.on('data', (part: Buffer) => {
        bytes += part.length
        if (bytes > answerBytesMax) incoming.destroy(new Error('the answer is too large'))
        else parts.push(part)
      })
      incoming.on('error', reject)
      incoming.on('end', () => {
        const { etag } = incoming.headers
        const text = Buffer.concat(parts).toString('utf8')
        resolve({ status: incoming.statusCode ?? 0, text, ...(etag === undefined ? {} : { etag }) })
      })
    })
    let waits = connectMs
    outgoing.on('socket', (socket) =>
      socket.once(isTls ? 'secureConnect' : 'connect', () => {
        waits = answerMs
        outgoing.setTimeout(answerMs)
      }),
    )
    outgoing.on('timeout', () => outgoing.destroy(new Error(`no answer in ${waits / 1000} s`)))
    outgoing.on('error', reject)
    outgoing.end(body)
  })
