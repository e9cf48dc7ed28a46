import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Received } from '#gateway/uplink/received.ts'
import { loadReceived, saveReceived } from '#gateway/uplink/state-file.ts'

const received = (rev: number): Received =>
  new Map([['cfg/a', { epoch: 'e', rev, root: '0'.repeat(64), items: new Map([['self', { n: rev }]]) }]])

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'state-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

describe('the state file', () => {
  it('gives back what was saved', () => {
    saveReceived(join(dir, 'r.json'), received(7))
    expect(loadReceived(join(dir, 'r.json'))).toEqual({ received: received(7), faults: [] })
  })

  it('nothing on disk is nothing known, and no fault', () => {
    expect(loadReceived(join(dir, 'r.json'))).toEqual({ received: new Map(), faults: [] })
  })

  for (const [what, damage] of [
    ['truncated', (text: string) => text.slice(0, text.length / 2)],
    ['empty', () => ''],
    ['bit-flipped', (text: string) => text.replace('"rev":8', '"rev":9')],
  ] as const)
    it(`${what}: the generation before is served, and the fault is named`, () => {
      const path = join(dir, 'r.json')
      saveReceived(path, received(7))
      saveReceived(path, received(8))
      writeFileSync(path, damage(readFileSync(path, 'utf8')))
      const loaded = loadReceived(path)
      expect(loaded.received).toEqual(received(7))
      expect(loaded.faults).toEqual([{ path, reason: expect.stringContaining('its checksum does not match') }])
    })

  it('a write that fails leaves the old file whole and no temporary one', () => {
    const path = join(dir, 'r.json')
    saveReceived(path, received(7))
    expect(() => saveReceived(join(dir, 'missing/r.json'), received(8))).toThrow(/ENOENT/)
    expect(loadReceived(path).received).toEqual(received(7))
    expect(readdirSync(dir)).toEqual(['r.json'])
    expect(existsSync(join(dir, 'missing'))).toBe(false)
  })
})
