import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type IssuedLeaf, type LogHead, openIssuanceLog } from '#gateway/identity/issuance-log.ts'

let dir = ''
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'issued-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const leaf = (n: number): IssuedLeaf => ({
  ...{ at: 1000 + n, serial: n.toString(16), keySha256: `k${n}`, holder: 'shop/reviews', pod: `shop/reviews-${n % 3}` },
  ...{ notAfter: 5000 + n, root: 'r', caMadeAt: 1, trustDomain: 'west.mesh1' },
})

/** Opens, appends, closes; gives what was loaded, the head after it, and what was said. */
function run(count: number, linesMax = 1000, path = join(dir, 'issued.log')) {
  const said: string[] = []
  const log = openIssuanceLog({ path, linesMax, warn: (text) => said.push(text) })
  let head: LogHead = log.head()
  for (let i = 0; i < count; i++) head = log.append(leaf(head.seq + 1))
  log.close()
  return { loaded: log.loaded.map(({ at }) => at - 1000), head, said }
}

test('what was appended is there after a restart, and the chain goes on', () => {
  const first = run(3)
  const second = run(2)
  const third = run(0)
  expect([first.loaded, second.loaded, third.loaded]).toEqual([[], [1, 2, 3], [1, 2, 3, 4, 5]])
  expect(third.head).toEqual(second.head)
  expect([...first.said, ...second.said, ...third.said]).toEqual([])
})

test('it is bounded: the older half goes, and the chain is still whole', () => {
  for (let i = 0; i < 6; i++) run(5, 20)
  const { loaded, head, said } = run(0, 20)
  expect(loaded.length).toBeLessThanOrEqual(20)
  expect(loaded).toEqual(Array.from({ length: loaded.length }, (_, i) => 31 - loaded.length + i))
  expect([head.seq, said]).toEqual([30, []])
})

describe('after a kill', () => {
  test('at any byte of the last write: what is whole stays, the rest is said, and the log goes on', () => {
    run(3)
    const at = readFileSync(join(dir, 'issued.log')).length
    run(1)
    const size = readFileSync(join(dir, 'issued.log')).length
    for (let cut = at; cut <= size; cut += 7) {
      const copy = join(dir, `cut-${cut}`)
      mkdirSync(copy)
      cpSync(join(dir, 'issued.log'), join(copy, 'issued.log'))
      truncateSync(join(copy, 'issued.log'), cut)
      const again = run(2, 1000, join(copy, 'issued.log'))
      const whole = cut === size ? [1, 2, 3, 4] : [1, 2, 3]
      expect(again.loaded).toEqual(whole)
      expect(again.said.length).toBe(cut === at || cut === size ? 0 : 1)
      expect(run(0, 1000, join(copy, 'issued.log')).loaded).toEqual([...whole, whole.length + 1, whole.length + 2])
    }
  })

  test('between the two segments: the older one is gone on from', () => {
    run(4)
    cpSync(join(dir, 'issued.log'), join(dir, 'issued.log.1'))
    rmSync(join(dir, 'issued.log'))
    expect(run(2).loaded).toEqual([1, 2, 3, 4])
    expect(run(0)).toMatchObject({ loaded: [1, 2, 3, 4, 5, 6], said: [] })
  })
})

test('an entry that was changed is not believed, nor what follows it; the file is kept for a person', () => {
  run(5)
  const path = join(dir, 'issued.log')
  writeFileSync(path, readFileSync(path, 'utf8').replace('"serial":"3"', '"serial":"f"'))
  const { loaded, said } = run(1)
  expect(loaded).toEqual([1, 2])
  expect(said[0]).toMatch(/entry 3 was changed; a copy was set aside as .*issued\.log\.damaged/)
  expect(readFileSync(`${path}.damaged`, 'utf8')).toContain('"serial":"f"')
  expect(run(0)).toMatchObject({ loaded: [1, 2, 3], said: [] })
})

test('a file without a beginning is set aside, and another one begins', () => {
  writeFileSync(join(dir, 'issued.log'), 'no log\n')
  expect(run(1).said[0]).toContain('has no beginning that can be read')
  expect(existsSync(join(dir, 'issued.log.damaged'))).toBe(true)
  expect(run(0)).toMatchObject({ loaded: [1], said: [] })
})

test('a disk that takes nothing holds up no certificate, is said once, and what waited is written later', async () => {
  const path = join(dir, 'none/issued.log')
  const said: string[] = []
  const log = openIssuanceLog({ path, warn: (text) => said.push(text) })
  log.append(leaf(1))
  await new Promise((done) => setTimeout(done, 80))
  log.append(leaf(2))
  await new Promise((done) => setTimeout(done, 80))
  mkdirSync(join(dir, 'none'))
  log.append(leaf(3))
  log.close()
  expect(said.map((text) => /takes nothing|written again/.exec(text)?.[0])).toEqual(['takes nothing', 'written again'])
  expect(run(0, 1000, path).loaded).toEqual([1, 2, 3])
})
