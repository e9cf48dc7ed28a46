import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadRelaySettings } from '#gateway/settings.ts'

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'relay-settings-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

const beaconsOf = (...beacons: readonly unknown[]) => {
  const path = join(dir, 'isthmus.yaml')
  const health = { beacons }
  writeFileSync(path, JSON.stringify({ cluster: 'a', region: 'r1', network: 'n1', tokens: { issuer: 'x' }, health }))
  return loadRelaySettings(path).health.beacons
}

test('a beacon is a host and a port', () => {
  expect(beaconsOf('example.com:443', '192.0.2.1:53', '[2001:db8::1]:53')).toEqual([
    { host: 'example.com', port: 443 },
    { host: '192.0.2.1', port: 53 },
    { host: '2001:db8::1', port: 53 },
  ])
  expect(beaconsOf()).toEqual([])
})

test.each(['example.com', 'example.com:0', 'example.com:65536', '2001:db8::1:53', 'https://example.com:443', '', 5])(
  '%s is none, and the reason names the place',
  (text) => {
    expect(() => beaconsOf(text)).toThrow(/health\.beacons\.0: /)
  },
)
