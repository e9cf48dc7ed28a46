import { afterEach, expect, test } from 'vitest'
import type { Probed } from '#gateway/health/ask-over-tls.ts'
import { type Asked, openProber, type Prober } from '#gateway/health/prober.ts'
import { eventually } from '#tests/support/until.ts'

let prober: Prober | undefined
afterEach(() => prober?.stop())

const ok: Probed = { result: 'ok' }

test('everyone is asked again and again, one question to each at a time, a bounded number at once', async () => {
  const counts = new Map<string, number>()
  const [busy, most] = [new Set<string>(), { each: 0, all: 0 }]
  const asked = (id: string): Asked => ({
    id,
    ask: async () => {
      if (busy.has(id)) most.each += 1
      busy.add(id)
      most.all = Math.max(most.all, busy.size)
      await new Promise((resolve) => setTimeout(resolve, 5))
      busy.delete(id)
      return ok
    },
  })
  prober = openProber({
    ...{ everyMs: 20, tickMs: 2, inFlightMax: 3 },
    onResult: (id) => counts.set(id, (counts.get(id) ?? 0) + 1),
  })
  prober.want(Array.from({ length: 10 }, (_, at) => asked(`g${at}`)))
  await eventually(
    30_000,
    'three answers of each',
    () => counts.size === 10 && [...counts.values()].every((n) => n >= 3),
  )
  expect(most).toEqual({ each: 0, all: 3 })
})

test('who is not wanted any more is not heard, and nothing is told of a question without an answer', async () => {
  const heard: string[] = []
  let answer: ((probed: Probed | undefined) => void) | undefined
  let asks = 0
  prober = openProber({ everyMs: 10, tickMs: 2, onResult: (id) => heard.push(id) })
  const slow: Asked = { id: 'slow', ask: () => new Promise((resolve) => (answer = resolve)) }
  const unsure: Asked = {
    id: 'unsure',
    ask: async () => {
      asks += 1
      return undefined
    },
  }
  prober.want([slow, unsure])
  await eventually(30_000, 'both asked', () => answer !== undefined && asks > 2)
  prober.want([unsure])
  answer?.(ok)
  const before = asks
  await eventually(30_000, 'another question', () => asks > before + 1)
  expect(heard).toEqual([])
})
