import { expect, test } from 'vitest'
import { type Status, statusText as textOf } from '#cli/status.ts'

const statusText = (status: Status, now: number) => textOf({ status, answers: [] }, { now })
const gateway = (cluster: string, state: string) => ({ cluster, address: '203.0.113.9', port: 15443, state })
const status = (more: Partial<Status>): Status => ({
  centre: { url: 'https://127.0.0.1:7400', answers: true },
  clusters: [{ name: 'paris', state: 'joined' }],
  ...{ configs: [], gateways: [], relays: {} },
  ...more,
})

test('a gateway that is down needs attention, also where its relay cannot be asked', () => {
  const line = /paris {2}gateway 203\.0\.113\.9:15443 {2}Down: its cluster says that it does not work/
  expect(statusText(status({ gateways: [gateway('paris', 'down')] }), 0)).toMatch(line)
  expect(statusText(status({ gateways: [gateway('paris', 'down')], relays: { paris: null } }), 0)).toMatch(line)
  for (const state of ['ready', 'unknown'])
    expect(statusText(status({ gateways: [gateway('paris', state)] }), 0)).not.toContain('Needs attention')
})

test('a relay that does not answer needs attention, one that is not there yet does not', () => {
  const relays = { paris: null }
  expect(statusText(status({ relays }), 0)).toMatch(/paris {2}its relay {2}Unreachable: does not answer/)
  for (const state of ['expected', 'left'])
    expect(statusText(status({ relays, clusters: [{ name: 'paris', state }] }), 0)).not.toContain('Unreachable')
})

test('where its relay is asked that one says it, once', () => {
  const object = 'gateway 203.0.113.9:15443'
  const relay = { conditions: [{ object, reason: 'Away', message: 'no proxy of it is connected' }] }
  const text = statusText(status({ gateways: [gateway('paris', 'down')], relays: { paris: relay } }), 0)
  expect(text.match(/203\.0\.113\.9/g)).toHaveLength(1)
  expect(text).toContain(`paris  ${object}  Away: no proxy of it is connected`)
})

test('a clock that is off needs attention, either way; a second does not', () => {
  const clock = (clockSkewMs: number) =>
    statusText(status({ relays: { paris: { centre: { state: 'connected', clockSkewMs } } } }), 0)
  expect(clock(-600_004)).toContain(
    'paris  the clock of its relay’s machine  ClockOff: it is 600 s ahead of the centre’s',
  )
  expect(clock(600_000)).toContain('600 s behind the centre’s: set it (NTP)')
  expect(clock(1000)).not.toContain('Needs attention')
})

test('what needs attention is broken between words, and the rest of it stands further in', () => {
  const seen = status({ gateways: [gateway('paris', 'down')] })
  const text = textOf({ status: seen, answers: [] }, { now: 0, columns: 60 })
  const [first = '', ...rest] = text.slice(text.indexOf('  paris  gateway')).trimEnd().split('\n').slice(0, 3)
  expect(first).toMatch(/^ {2}paris {2}gateway 203/)
  for (const line of rest) expect(line).toMatch(/^ {4}\S/)
  for (const line of [first, ...rest]) expect(line.length).toBeLessThanOrEqual(60)
  expect([first.trim(), ...rest.map((line) => line.trim())].join(' ')).toContain('prefer others: look at its relay')
})
