import { expect, test } from 'vitest'
import { openProbeLeaf } from '#gateway/health/probe-leaf.ts'
import { domain, makeIssuing, makeRoot } from '#tests/support/authorities.ts'
import { eventually } from '#tests/support/until.ts'

test('a leaf is made anew at half of its life and for another authority; without one, or without roots, there is none', async () => {
  const root = await makeRoot()
  let issuing = await makeIssuing(root, 'a')
  let has = true
  let roots: string | undefined = root.pem
  let now = new Date()
  const leaf = openProbeLeaf({
    trustDomain: domain('a'),
    authority: () => (has ? { signer: issuing.key, chain: [issuing.certificate] } : undefined),
    roots: () => roots,
    clock: () => now,
    log: { warn: (_facts, text) => expect.fail(text) },
  })
  const first = await eventually(30_000, 'a leaf', () => leaf.context())
  expect(leaf.context()).toBe(first)
  now = new Date(now.getTime() + 40 * 60_000)
  const second = await eventually(30_000, 'another leaf', () => {
    const context = leaf.context()
    return context !== first && context
  })
  issuing = await makeIssuing(root, 'a')
  await eventually(30_000, 'a leaf of the other authority', () => {
    const context = leaf.context()
    return context !== second && context
  })
  has = false
  expect(leaf.context()).toBeDefined()
  roots = undefined
  expect(leaf.context()).toBeUndefined()
  roots = root.pem
  now = new Date(now.getTime() + 61 * 60_000)
  expect(leaf.context()).toBeUndefined()
})
