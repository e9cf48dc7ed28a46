import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { readObjects } from '#cli/apply.ts'
import type { Centre } from '#cli/context.ts'
import { planOf, type ShownPlan, stepsOf } from '#cli/plan.ts'
import { planText } from '#cli/plan-text.ts'
import type { Problem } from '#mesh/model/problem.ts'

const directory = mkdtempSync(join(tmpdir(), 'isthmus-plan-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const fileOf = (name: string, text: string): string => {
  writeFileSync(join(directory, name), text)
  return join(directory, name)
}
const policy = (name: string, head = '') =>
  `${head}kind: GlobalTrafficPolicy\nmetadata: { namespace: shop, name: ${name} }\nspec: { services: {} }\n`
const two = fileOf('two.yaml', `${policy('a')}---\n${policy('b')}`)

const answers = (status: number, body: unknown): Centre =>
  ({
    ...{ url: 'https://centre.test:7400', relays: {} },
    send: async () => ({ status, text: JSON.stringify(body) }),
  }) as unknown as Centre

const refused = (work: Promise<unknown>): Promise<Problem> =>
  work.then(
    () => {
      throw new Error('it was not refused')
    },
    (error: Problem) => error,
  )

test('what the centre refuses of a plan is told with file and line of the object', async () => {
  const centre = answers(400, {
    detail: 'policy shop/b: spec.tiers[0]: names nobody',
    violations: [{ path: 'objects[1].spec.tiers[0]', reason: 'names nobody' }],
  })
  expect(await refused(planOf(centre, readObjects([two]), false))).toMatchObject({
    message: 'policy shop/b: spec.tiers[0]: names nobody',
    violations: [{ path: `${two}:5 spec.tiers[0]`, reason: 'names nobody' }],
    extra: { on: `${two}:5`, mend: 'correct the file, then repeat the command' },
  })
  const used = answers(409, {
    detail: 'group x is named by policy shop/a: take it out there first',
    violations: [{ path: 'remove[0]', reason: 'group x is named by policy shop/a: take it out there first' }],
  })
  expect(await refused(planOf(used, readObjects([two]), true))).toMatchObject({
    kind: 'conflict',
    extra: { on: `${two}:1`, mend: expect.stringContaining('isthmus get global-traffic-policies') },
  })
})

test('objects of several files are one plan; of another group, or without a mapping as spec, they are refused', async () => {
  const more = fileOf('more.yaml', `kind: SamenessGroup\nmetadata: { name: g }\nspec: { clusters: [oslo] }\n`)
  expect(readObjects([two, more]).map(({ name }) => name)).toEqual(['g', 'a', 'b'])
  expect(readObjects([two, more], { isDelete: true }).map(({ name }) => name)).toEqual(['a', 'b', 'g'])
  const others = fileOf('others.yaml', policy('x', 'apiVersion: example.org/v1\n'))
  expect(await refused(planOf(answers(200, {}), readObjects([others]), false))).toMatchObject({
    message: expect.stringContaining('the centre keeps no GlobalTrafficPolicy of example.org/v1'),
    extra: { on: `${others}:1` },
  })
  const list = fileOf('list.yaml', 'kind: SamenessGroup\nmetadata: { name: g }\nspec: [oslo]\n')
  expect(() => readObjects([list])).toThrow('spec is no mapping')
})

const empty: ShownPlan = { hash: 'f'.repeat(64), steps: [], clusters: [], changes: [], shares: [], warnings: [] }

test('a plan that is not the one any more names the file to plan again; nothing to delete is said to be so', async () => {
  const step = { object: 'policy shop/a', hash: '1', unchanged: false, warnings: [] }
  const centre = answers(200, { ...empty, steps: [step] })
  const stale = await refused(stepsOf(centre, readObjects([two]), { hash: 'abc', isDelete: true }))
  expect(stale).toMatchObject({
    kind: 'stale',
    extra: { mend: `isthmus plan --delete -f ${two}, and look at it again` },
  })
  const nothing = { ...empty, steps: [{ ...step, unchanged: true }] }
  expect(planText(nothing, { command: '', isDelete: true })).toContain('policy shop/a is not there\n')
  expect(planText(nothing, { command: '' })).toContain('policy shop/a stands so already\n')
})
