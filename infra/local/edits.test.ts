import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '#tests/support/until.ts'
import { editsBetween, watchEdits } from './edits.ts'
import { planSandbox } from './plan.ts'
import { causeOf, everywhere } from './shifts.ts'

test('files that were added, changed and removed are told apart; the others are not told', () => {
  const before = new Map([...'abc'].map((name) => [name, '1']))
  const after = new Map([...'acd'].map((name) => [name, name === 'c' ? '2' : '1']))
  expect(editsBetween(before, after)).toEqual(['b was removed', 'c was changed', 'd was added'])
})

test('an edit is told once with its clusters; what was there before is no news', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-edits-'))
  try {
    const clusters = planSandbox(dir, { ISTHMUS_SANDBOX: dir }).clusters.slice(0, 2)
    const manifests = clusters.map((one) => join(one.dir, 'manifests'))
    for (const one of manifests) {
      mkdirSync(join(one, 'exports'), { recursive: true })
      writeFileSync(join(one, 'exports/ratings.yaml'), 'kind: ServiceExport')
    }
    const said: string[] = []
    const edits = watchEdits({ members: clusters.map((plan) => ({ plan })) as never }, (words) => said.push(words))
    for (const one of manifests) rmSync(join(one, 'exports/ratings.yaml'))
    await eventually(5000, 'it is told', () => said.length > 0)
    for (const one of manifests) rmSync(one, { recursive: true })
    await new Promise((resolve) => setTimeout(resolve, 1000))
    edits.close()
    expect(said).toEqual(['exports/ratings.yaml was removed in virginia-1 and virginia-2'])
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})

test('an edit anywhere can be the cause of any shift, a deed to another cluster cannot', () => {
  const change = { service: 'reviews', from: ['virginia-2'], to: ['ireland-1'], about: '' }
  const [other, edit] = [
    { atMs: 5, cluster: 'tokyo-1', words: 'tokyo-1 was killed' },
    { atMs: 4, cluster: everywhere, words: 'exports/ratings.yaml was removed in virginia-1' },
  ]
  expect(causeOf(change, [edit, other], 10)).toBe(edit)
  expect(causeOf(change, [other], 10)).toBeUndefined()
})
