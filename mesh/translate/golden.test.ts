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

test('no golden file lets a session be resumed, or a chain in that leads to no root', () => {
  let [servers, clients] = [0, 0]
  for (const { name } of cases) {
    const out = join(testdata, name, 'out')
    const texts = existsSync(out) ? readdirSync(out).map((file) => readFileSync(join(out, file), 'utf8')) : []
    for (const text of texts) expect(text).not.toMatch(/session_ticket_keys|ACCEPT_UNTRUSTED|trust_chain_verification/)
    const count = (what: string) => texts.join('\n').split(what).length - 1
    const asking = count('tls.v3.DownstreamTlsContext')
    for (const said of [
      'require_client_certificate: true',
      'disable_stateless_session_resumption: true',
      'disable_stateful_session_resumption: true',
    ])
      expect([name, said, count(said)]).toEqual([name, said, asking])
    expect([name, count('max_session_keys: 0')]).toEqual([name, count('tls.v3.UpstreamTlsContext')])
    expect([name, count('tls_minimum_protocol_version: TLSv1_3')]).toEqual([
      name,
      asking + count('tls.v3.UpstreamTlsContext'),
    ])
    servers += asking
    clients += count('tls.v3.UpstreamTlsContext')
  }
  expect(Math.min(servers, clients), 'the files hold both sides').toBeGreaterThan(10)
})
