import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type OwnGatewaysWatch, openOwnGateways } from '#gateway/own-gateways.ts'
import type { Sight } from '#gateway/plan-own-gateways.ts'
import { eventually } from '#tests/support/until.ts'

const up: Sight = { gateways: [{ addresses: ['127.1.0.2'], listens: 'yes' }], others: 1 }
const gone: Sight = { gateways: [], others: 1 }
let stateDir: string
let sight: Sight | undefined
let now = 0
let looked = 0
let watch: OwnGatewaysWatch | undefined
let changes: string[] = []

function start(...addresses: string[]): OwnGatewaysWatch {
  watch?.stop()
  changes = []
  watch = openOwnGateways({
    ...{ stateDir, now: () => now, lookMs: 5 },
    sight: () => {
      looked += 1
      return sight
    },
    places: () => addresses.map((address) => ({ address, port: 15443 })),
    onChange: () => changes.push(states()),
    log: { info: () => undefined, warn: () => undefined },
  })
  return watch
}
const states = () =>
  watch
    ?.current()
    .map(({ state }) => state)
    .join(' ') ?? ''
const becomes = (wanted: string) => eventually(5000, wanted, () => states() === wanted)
const looks = () => {
  const before = looked
  return eventually(5000, 'two looks', () => looked >= before + 2)
}

beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'own-gateways-'))
  sight = undefined
  now = 0
})
afterEach(() => {
  watch?.stop()
  rmSync(stateDir, { recursive: true })
})

test('a gateway that stays away is told as down and shown with its reason, and told as ready when it is back', async () => {
  start('127.1.0.2')
  sight = up
  await becomes('ready')
  sight = gone
  await looks()
  expect(watch?.conditions()).toEqual([])
  now = 16_000
  await becomes('down')
  expect(watch?.conditions()).toEqual([
    {
      ...{ type: 'GatewayNotReady', reason: 'Away', object: 'gateway 127.1.0.2:15443' },
      message:
        'no proxy of it is connected: start it, or look at its log, for 16 s; ' +
        'callers in other clusters prefer others, and use it only where nothing else is left',
    },
  ])
  expect(watch?.counts()).toEqual({ ready: 0, down: 1, unknown: 0 })
  sight = up
  await becomes('ready')
  expect(changes).toEqual(['ready', 'down', 'ready'])
  expect(watch?.conditions()).toEqual([])
})

test('what was told before a restart of the relay stands, and is no change, until its port is open for a while', async () => {
  start('127.1.0.2')
  sight = up
  await becomes('ready')
  sight = undefined
  start('127.1.0.2')
  now = 1_000_000
  await looks()
  sight = gone
  await looks()
  now += 29_000
  await looks()
  expect([states(), changes]).toEqual(['ready', []])
  now += 2000
  await becomes('down')
  sight = undefined
  start('127.1.0.2')
  expect(states()).toBe('down')
})

test('addresses that are none are left out of the report, and shown', () => {
  start('127.1', 'gw.svc.cluster.local', 'gw.example.com')
  expect(watch?.current().map(({ address }) => address)).toEqual(['gw.example.com'])
  expect(watch?.conditions().map(({ type, object }) => `${type} ${object}`)).toEqual([
    'GatewayAddressRefused gateway 127.1',
    'GatewayAddressRefused gateway gw.svc.cluster.local',
  ])
})
