import { expect, test } from 'vitest'
import { plainLine } from '#gateway/proxy/plain-line.ts'

const line = (facts: object) =>
  JSON.stringify({ level: 'warn', time: '2026-03-01T20:15:03.120Z', proxy: 'a.b', ...facts })

test('a person reads the time of day, how grave it is, the sentence and its facts', () => {
  expect(
    plainLine(line({ retryMs: 200, err: { kind: 'unavailable', causes: [] }, msg: 'no certificate yet: x' })),
  ).toBe('20:15:03 warn   no certificate yet: x (retryMs=200)')
  expect(plainLine(line({ msg: 'Envoy started' }))).toBe('20:15:03 warn   Envoy started')
})

test('of a fault that nobody foresaw the stack is kept', () => {
  expect(plainLine(line({ msg: 'a fault of ours', err: { stack: 'Error: x\n    at y' } }))).toMatch(
    /ours\nError: x\n {4}at y$/,
  )
})

test('what is no JSON stays as it is', () => {
  expect(plainLine('half a line\n')).toBe('half a line')
})
