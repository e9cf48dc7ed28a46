import { linkSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { lockDirectory } from '#control/store/lock.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'lock-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
})
const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
const leave = (text: string) => writeFileSync(join(dir, 'centre.lock'), text)
const ended = { pid: 1, start: 'long ago', boot }

describe('the lock of a data directory', () => {
  test('is one holder’s, and leaves nothing behind', () => {
    const lock = lockDirectory(dir)
    expect(() => lockDirectory(dir)).toThrow(`in use by another centre, process ${process.pid}`)
    lock.release()
    expect(readdirSync(dir)).toEqual([])
  })

  test('of a process that is gone is taken over, whatever a start that was killed left beside it', () => {
    leave(JSON.stringify(ended))
    linkSync(join(dir, 'centre.lock'), join(dir, 'centre.lock.takeover'))
    linkSync(join(dir, 'centre.lock'), join(dir, `centre.lock.${process.pid}.stale`))
    expect(lockDirectory(dir).machineDied).toBe(false)
    expect(() => lockDirectory(dir)).toThrow(`process ${process.pid}`)
  })

  test.each([
    ['of another boot', JSON.stringify({ ...ended, boot: 'another' })],
    ['that cannot be read, as a power cut leaves one', ''],
  ])('%s tells that the machine died, until that was seen to', (_, text) => {
    leave(text)
    const first = lockDirectory(dir)
    expect(first.machineDied).toBe(true)
    first.release()
    const second = lockDirectory(dir)
    expect(second.machineDied).toBe(true)
    second.settled()
    second.release()
    expect(lockDirectory(dir).machineDied).toBe(false)
  })
})
