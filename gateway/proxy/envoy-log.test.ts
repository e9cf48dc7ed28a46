import { generateKeyPairSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { envoyLog } from '#gateway/proxy/envoy-log.ts'

const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString()

function logged(lines: readonly string[]): readonly string[] {
  const seen: string[] = []
  const at = (level: string) => (facts: unknown, text?: string) =>
    void seen.push(`${level} ${(facts as { envoy: string }).envoy}: ${text}`)
  const take = envoyLog({
    trace: at('trace'),
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  })
  for (const line of lines) take(line)
  return seen
}

test('levels and loggers are Envoy’s own; a message’s further lines keep its level', () => {
  const lines = [
    'critical\tmain\tno listener',
    'warning\tconfig\tgRPC\tclosed',
    'and more',
    'info\tupstream\tok',
    'warning',
  ]
  expect(logged(lines)).toEqual([
    'error main: no listener',
    'warn config: gRPC\tclosed',
    'warn more: and more',
    'info upstream: ok',
    'info more: warning',
  ])
})

test('a key over several lines is left out, what follows is not', () => {
  const lines = `error\tconfig\trejected: inline_string: "${key}"`.split('\n')
  const seen = logged([...lines, 'error\tconfig\tnext'])
  expect(seen).toEqual(['error config: rejected: inline_string: "[redacted]', 'error more: "', 'error config: next'])
})

test('a key in one line, and two after each other', () => {
  const oneLine = JSON.stringify(key)
  expect(logged([`error\tconfig\t${oneLine}`, 'error\tconfig\tnext'])).toHaveLength(2)
  expect(logged([`error\ta\t${key}${key}`, 'info\tb\tnext'].join('\n').split('\n')).join()).not.toContain(
    key.split('\n')[1],
  )
})

test('a line without end is cut', () => {
  expect(logged([`info\tmain\t${'x'.repeat(10_000)}`])[0]?.length).toBeLessThan(4_200)
})
