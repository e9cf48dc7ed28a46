import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ControlPlane, followControlPlane, readControlPlane } from '#gateway/proxy/control-plane.ts'
import { makeControlPlaneCa } from '#tests/support/authorities.ts'

const dir = mkdtempSync(join(tmpdir(), 'ca-'))
const file = join(dir, 'ca.pem')
afterAll(() => rmSync(dir, { recursive: true }))
let [one, two] = ['', '']
beforeAll(async () => {
  one = (await makeControlPlaneCa()).pem
  two = (await makeControlPlaneCa()).pem
})

/** Follows the file while each step writes it, and gives what was said of it. */
async function follow(steps: readonly (string | undefined)[]) {
  writeFileSync(file, one)
  let known: ControlPlane | undefined = readControlPlane(file)
  const heard: ControlPlane[] = []
  const warned: string[] = []
  const ending = new AbortController()
  const left = [...steps]
  await followControlPlane({
    ...{ file, known: () => known, signal: ending.signal },
    onChange: (now) => {
      known = now
      heard.push(now)
    },
    clock: {
      wait: async () => {
        if (left.length === 0) return ending.abort()
        const text = left.shift()
        if (text === undefined) rmSync(file, { force: true })
        else writeFileSync(file, text)
      },
    },
    log: { info: () => undefined, warn: (facts: object) => warned.push(JSON.stringify(facts)) } as never,
  })
  return { heard, warned }
}

test('another CA in the file is heard of once; the order of them and a comment are no news', async () => {
  const { heard, warned } = await follow([one, one + two, `# two\n${two}${one}`, two])
  expect(heard.map(({ pem }) => pem.match(/BEGIN/g)?.length)).toEqual([2, 1])
  expect(warned).toEqual([])
})

test('a file that is gone, empty or damaged changes nothing and is said once each', async () => {
  const { heard, warned } = await follow([undefined, undefined, '', one.slice(0, 90), one])
  expect(heard).toEqual([])
  expect(warned).toHaveLength(3)
})
