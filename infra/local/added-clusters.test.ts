import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, expect, test } from 'vitest'
import { addedFile, clustersMax, planAdded, saveAdded, withAdded } from './added-clusters.ts'
import { planSandbox } from './plan.ts'

const dir = mkdtempSync(join(tmpdir(), 'isthmus-added-'))
const plan = planSandbox('/', { ISTHMUS_SANDBOX: dir })
afterEach(() => rmSync(join(dir, addedFile), { force: true }))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

test('a cluster that was added is of the plan of the next start, on the same addresses', () => {
  const tokyo = planAdded(plan, plan.clusters, 'tokyo-1', 'ap-northeast-1')
  saveAdded(plan, [...plan.clusters, tokyo])
  const next = withAdded(plan)
  expect(next.clusters.at(-1)).toEqual(tokyo)
  expect(tokyo.octet).toBe(24)
  const osaka = planAdded(next, next.clusters, 'osaka-1', 'ap-northeast-3')
  saveAdded(next, [...next.clusters, osaka])
  expect(
    withAdded(plan)
      .clusters.map((one) => one.name)
      .slice(3),
  ).toEqual(['tokyo-1', 'osaka-1'])
})

test.each([
  ['EU_West.1', 'has capitals; use lower case'],
  ['eu_west.1', 'is not one DNS label'],
  ['', 'is not one DNS label'],
  ['virginia-1', 'is in this sandbox already'],
])('a cluster is not named "%s"', (name, reason) => {
  expect(() => planAdded(plan, plan.clusters, name, 'r')).toThrow(reason)
})

test('there is a last one', () => {
  const many = Array.from({ length: clustersMax }, (_, n) => ({ name: `c-${n}`, octet: 21 + n }))
  const clusters = many.map((one) => ({ ...planAdded(plan, plan.clusters, 'x', 'r'), ...one }))
  expect(() => planAdded(plan, clusters, 'one-more', 'r')).toThrow('takes no more')
})

test('a damaged file is told with what to do, never taken for an empty one', () => {
  writeFileSync(join(dir, addedFile), '[{"name"')
  expect(() => withAdded(plan)).toThrow(/added\.json is damaged: begin anew with --fresh/)
})
