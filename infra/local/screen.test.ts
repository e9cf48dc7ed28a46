import fc from 'fast-check'
import { expect, test } from 'vitest'
import { doneLines, fitting, openScreen, trafficLine } from './screen.ts'

function output(more: { readonly isTTY?: boolean; readonly columns?: number }) {
  let text = ''
  return { ...more, write: (part: string) => (text += part), text: () => text }
}

test('on no terminal there are plain lines, and the last line once a minute', () => {
  const to = output({})
  let now = 0
  const screen = openScreen(to, {}, () => now)
  screen.done('centre', 'https://c', 1.23)
  for (now = 0; now < 90_000; now += 500) screen.status(['50 req/s', `at ${now}`])
  screen.say('✘ gone')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the escape is what must not be there
  expect(to.text()).not.toMatch(/[\u001b\r]/)
  expect(to.text().match(/req\/s/g)).toHaveLength(2)
})

test('on a terminal what is said comes above the last line, which is written again', () => {
  const to = output({ isTTY: true, columns: 80 })
  const screen = openScreen(to, { NO_COLOR: '1' })
  screen.status(['one'])
  screen.say('said')
  screen.status(['two'])
  screen.close()
  expect(to.text()).toBe('\r\u001b[2Kone\r\u001b[2Ksaid\none\r\u001b[2Ktwo\n')
})

test('colours only where they are wanted', () => {
  for (const env of [{ NO_COLOR: '1' }, { TERM: 'dumb' }]) {
    const to = output({ isTTY: true })
    openScreen(to, env).say('✔ well')
    expect(to.text()).toBe('✔ well\n')
  }
  const to = output({ isTTY: true })
  openScreen(to, {}).say('✔ well')
  expect(to.text()).toBe('\u001b[32m✔\u001b[0m well\n')
})

test('whatever the width, the last line never wraps and a ✔ line loses no word', () => {
  const words = fc.array(fc.stringMatching(/^[a-z0-9·-]{1,20}$/), { minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(words, fc.integer({ min: 1, max: 200 }), (parts, columns) => {
      expect(fitting(parts, columns).length).toBeLessThanOrEqual(columns)
      const lines = doneLines('shop', parts.join(' '), 12.3, columns)
      const said = lines.join(' ').split(/ +/)
      expect(said.filter((word) => parts.includes(word)).length).toBeGreaterThanOrEqual(parts.length)
    }),
  )
  const lines = doneLines('machine', 'linux x64 · Node 24 · Envoy 1.40.0 cached · ports free', 1.1, 40)
  expect(lines.every((line) => line.length <= 40)).toBe(true)
})

test('the last line says where reviews are answered, and that nobody does', () => {
  const summary = { perSecond: 50, failed: 0, p99: 7.2 }
  const reviews = [['virginia-1', 61] as const, ['ireland-1', 39] as const]
  expect(trafficLine({ ...summary, reviews }).join(' · ')).toBe(
    '50 req/s · failed 0 · p99 7 ms · reviews: virginia-1 61 %, ireland-1 39 %',
  )
  expect(trafficLine({ ...summary, reviews: [] }).at(-1)).toBe('reviews: nobody answers')
})
