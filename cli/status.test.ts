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

test('where its relay is asked that one says it, once', () => {
  const object = 'gateway 203.0.113.9:15443'
  const relay = { conditions: [{ object, reason: 'Away', message: 'no proxy of it is connected' }] }
  const text = statusText(status({ gateways: [gateway('paris', 'down')], relays: { paris: relay } }), 0)
  expect(text.match(/203\.0\.113\.9/g)).toHaveLength(1)
  expect(text).toContain(`paris  ${object}  Away: no proxy of it is connected`)
})
