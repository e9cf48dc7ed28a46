import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import { expect } from 'vitest'
import WebSocket from 'ws'
import type { ServedCentre } from '#functions/serve-centre.ts'
import type { Hint } from '#mesh/wire/hint.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import { type TestCentre, TestRelay } from '#tests/support/centre.ts'

type Reply = { readonly status: number; readonly body: Record<string, unknown>; readonly headers: Headers }

/** A call over real TLS, the CA as the centre wrote it. */
export function callServed(
  served: ServedCentre,
  method: string,
  path: string,
  send: { body?: unknown; bearer?: string } = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      new URL(path, served.url),
      {
        method,
        agent: false,
        ca: readFileSync(served.caFile),
        headers: {
          ...(send.bearer === undefined ? {} : { authorization: `Bearer ${send.bearer}` }),
          ...(send.body === undefined ? {} : { 'content-type': 'application/json' }),
        },
      },
      async (answer) => {
        let text = ''
        for await (const part of answer) text += part
        resolve({ status: answer.statusCode ?? 0, body: text === '' ? {} : JSON.parse(text), headers: new Headers() })
      },
    )
    outgoing.on('error', reject)
    outgoing.end(send.body === undefined ? undefined : JSON.stringify(send.body))
  })
}

/** A relay of the harness on a served centre: it needs no more of it than these. */
export function relayOf(served: ServedCentre, name: string): TestRelay {
  const adminKey = readFileSync(served.keyFile, 'utf8').trim()
  const shape: Pick<TestCentre, 'call' | 'admin' | 'clock'> = {
    clock: {
      get now() {
        return Date.now()
      },
    },
    call: (method, path, send) =>
      callServed(served, method, path, { body: send?.body, ...(send?.bearer ? { bearer: send.bearer } : {}) }),
    admin: (method, path, body) => callServed(served, method, path, { body, bearer: adminKey }),
  }
  return new TestRelay(shape as TestCentre, name, served.url)
}

/** A hint line, its frames kept, and a way to wait for one. */
export async function watchServed(
  served: ServedCentre,
  bearer: string,
  hello: string | undefined = JSON.stringify({ proto: meshSyncText }),
) {
  const socket = new WebSocket(`${served.url.replace('https', 'wss')}/v1/watch`, {
    ca: readFileSync(served.caFile),
    headers: { authorization: `Bearer ${bearer}` },
  })
  const frames: Hint[] = []
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() })),
  )
  const refused = new Promise<number>((resolve) =>
    socket.on('unexpected-response', (_, answer) => resolve(answer.statusCode ?? 0)),
  )
  socket.on('message', (data) => frames.push(JSON.parse(data.toString())))
  socket.on('error', () => undefined)
  const opened = await Promise.race([once(socket, 'open').then(() => 'open' as const), refused])
  if (opened === 'open' && hello !== undefined) socket.send(hello)
  const frameWith = (stream: string) =>
    expect.poll(() => frames.find((f) => f.heads.some(([name]) => name === stream))).toBeDefined()
  return { socket, frames, closed, opened, frameWith }
}
