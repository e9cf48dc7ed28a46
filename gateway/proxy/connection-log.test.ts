import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { type ConnectionLog, connectionLog } from '#gateway/proxy/connection-log.ts'

const refused = (more: object = {}) =>
  `${JSON.stringify({ bytes: 0, cause: 'TLS_error: no', local: '10.0.0.1:9080', peer: 'spiffe://a.mesh1/x', ...more })}\n`

function run(...parts: string[]): { log: ConnectionLog; passed: string } {
  const [from, to] = [new PassThrough(), new PassThrough()]
  const log = connectionLog(to, () => new Date(1000))
  log.follow(from)
  for (const part of parts) from.emit('data', Buffer.from(part))
  return { log, passed: String(to.read() ?? '') }
}

test('refused handshakes are counted by peer, place and cause; every line is passed on as it is', () => {
  const refusals = [refused(), refused(), refused({ peer: null }), refused({ cause: null })]
  const whole = `${refusals.join('')}a word of Envoy\n{"cause":"x`
  const { log, passed } = run(whole.slice(0, 90), whole.slice(90))
  expect(passed).toBe(whole)
  expect(log.refusals()).toEqual([
    { at: 1000, cause: 'TLS_error: no', local: '10.0.0.1:9080', peer: '', count: 1 },
    { at: 1000, cause: 'TLS_error: no', local: '10.0.0.1:9080', peer: 'spiffe://a.mesh1/x', count: 2 },
  ])
})

test('a call of ours that was refused names its cluster and the host', () => {
  const line = { cause: 'SAN matcher', cluster: 'outbound|9080||a', host: '10.1.0.1:15443', status: 503 }
  expect(run(`${JSON.stringify(line)}\n`).log.refusals()).toMatchObject([
    { peer: '10.1.0.1:15443', local: 'outbound|9080||a', cause: 'SAN matcher', count: 1 },
  ])
})

test('what the relay was told is counted anew, what came since stays', () => {
  const { log } = run(refused())
  const told = log.refusals()
  log.follow(new PassThrough())
  const from = new PassThrough()
  log.follow(from)
  from.emit('data', Buffer.from(refused()))
  log.told(told)
  expect(log.refusals().map(({ count }) => count)).toEqual([1])
  log.told(log.refusals())
  expect(log.refusals()).toEqual([])
})

test('it is bounded: 64 kinds, texts of 300 characters, no line past 8 kB', () => {
  const many = Array.from({ length: 100 }, (_, i) => refused({ peer: `p${i}${'x'.repeat(900)}` })).join('')
  const { log } = run(many, refused({ cause: 'y'.repeat(9000) }))
  let all = 0
  for (let told = log.refusals(); told.length > 0; told = log.refusals()) {
    expect(told.every(({ peer }) => peer.length <= 300)).toBe(true)
    all += told.length
    log.told(told)
  }
  expect(all).toBe(64)
})
