import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { redact } from '#gateway/proxy/log.ts'

const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()
const secret = pem.split('\n')[1] ?? 'none'

test.each([
  ['a key', pem],
  ['a key in one escaped line', JSON.stringify(pem)],
  ['a key that is cut off', pem.slice(0, 80)],
  ['a key in the middle', `rejected: inline_string: "${pem}" and more`],
])('%s is cut out', (_name, text) => {
  expect(redact(text)).toContain('[redacted]')
  expect(redact(text)).not.toContain(secret.slice(0, 20))
})

test('tokens are cut out, and what stands around them is kept', () => {
  const token = 'eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJzeXN0ZW0ifQ.c2lnbmF0dXJl'
  expect(redact(`authorization: Bearer ${token} refused`)).toBe('authorization: Bearer [redacted] refused')
  expect(redact(`token ${token}.`)).toBe('token [redacted].')
  expect(redact('bearer of bad news')).toBe('bearer of bad news')
})

test('a finished line holds no key, wherever in the facts it was', () => {
  const script = `import { openLog } from '#gateway/proxy/log.ts'
    const pem = process.argv[1]
    const log = openLog('info', { proxy: 'a.b' })
    log.info({ deep: { er: [pem] }, keyPem: pem, err: new Error(pem) }, pem)`
  const cwd = fileURLToPath(new URL('../..', import.meta.url))
  const line = execFileSync(process.execPath, ['--input-type=module', '-e', script, '--', pem], { cwd }).toString()
  expect(JSON.parse(line)).toMatchObject({ proxy: 'a.b', level: 'info' })
  expect(line).not.toContain(secret.slice(0, 20))
})
