import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readCase } from '#mesh/translate/testdata/case.ts'
import { files, goldenText } from '#mesh/translate/testdata/golden.ts'
import { createTranslator } from '#mesh/translate/translate.ts'

const testdata = join(import.meta.dirname, 'testdata')
const cases = readdirSync(testdata, { withFileTypes: true }).filter((e) => e.isDirectory())
const update = process.env['UPDATE_GOLDEN'] === '1'

describe.each(cases.map((c) => c.name))('%s', (name) => {
  const dir = join(testdata, name)
  const { view, proxy } = readCase(dir)
  const set = createTranslator().resourcesFor(view, proxy)

  test.each(Object.keys(files) as (keyof typeof files)[])('%s are as written', (kind) => {
    const path = join(dir, 'out', `${kind}.yaml`)
    const text = goldenText(set, files[kind])
    if (update) {
      if (text === undefined) rmSync(path, { force: true })
      else {
        mkdirSync(join(dir, 'out'), { recursive: true })
        writeFileSync(path, text)
      }
    }
    expect(text).toBe(existsSync(path) ? readFileSync(path, 'utf8') : undefined)
  })
})

test('no golden file is left over', () => {
  const known = new Set(Object.keys(files).map((kind) => `${kind}.yaml`))
  const strays = cases.flatMap((c) => {
    const out = join(testdata, c.name, 'out')
    const found = existsSync(out) ? readdirSync(out).filter((file) => !known.has(file)) : []
    if (update) for (const file of found) rmSync(join(out, file))
    return update ? [] : found
  })
  expect(strays).toEqual([])
})
