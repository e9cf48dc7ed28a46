import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { staticBootstrap } from '#mesh/translate/testdata/bootstrap.ts'
import { readCase } from '#mesh/translate/testdata/case.ts'
import { createTranslator } from '#mesh/translate/translate.ts'
import { envoyPath } from '#tests/support/parts.ts'

const testdata = join(import.meta.dirname, 'testdata')
const cases = readdirSync(testdata, { withFileTypes: true }).filter((e) => e.isDirectory())
const work = mkdtempSync(join(tmpdir(), 'isthmus-translate-'))
afterAll(() => rmSync(work, { recursive: true, force: true }))

let envoy = ''
beforeAll(async () => {
  envoy = await envoyPath()
})

/** What the real Envoy says to a configuration: `ok`, or its first complaint. */
async function verdict(name: string, config: object): Promise<string> {
  const path = join(work, `${name}.json`)
  writeFileSync(path, JSON.stringify(config))
  try {
    await promisify(execFile)(envoy, ['--mode', 'validate', '-l', 'error', '-c', path], { timeout: 30_000 })
    return 'ok'
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

describe('the real Envoy takes every golden case', () => {
  test.each(cases.map((c) => c.name))('%s', async (name) => {
    const { view, proxy } = readCase(join(testdata, name))
    expect(await verdict(name, staticBootstrap(createTranslator().resourcesFor(view, proxy)))).toBe('ok')
  })

  test('and would refuse a fault: this check can fail', async () => {
    const { view, proxy } = readCase(join(testdata, 'caller'))
    const text = JSON.stringify(staticBootstrap(createTranslator().resourcesFor(view, proxy)))
    const broken = text.replace('"load_balancing_weight":1', '"load_balancing_weight":0')
    expect(broken).not.toBe(text)
    expect(await verdict('broken', JSON.parse(broken) as object)).toContain('LoadBalancingWeight')
  })
})
