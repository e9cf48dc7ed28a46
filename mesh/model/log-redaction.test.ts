import pino from 'pino'
import { expect, test } from 'vitest'
import { logRedaction } from '#mesh/model/log-redaction.ts'

test('a secret is shown on no level of a log line, and what stands beside it is', () => {
  const lines: string[] = []
  const log = pino({ redact: logRedaction }, { write: (line: string) => void lines.push(line) })
  const said = { token: 's3cret', item: 'export/shop/a' }
  log.info({ ...said, request: { ...said, headers: { authorization: 's3cret', host: 'centre' } } }, 'text')
  expect(lines.join()).not.toContain('s3cret')
  expect(lines.join()).toContain('[redacted]')
  for (const shown of ['export/shop/a', 'centre', 'text']) expect(lines.join()).toContain(shown)
})
