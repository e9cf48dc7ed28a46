import { expect, test } from 'vitest'
import type { Centre } from '#cli/context.ts'
import { followRotation } from '#cli/trust/rotate.ts'
import { parseRotation } from '#cli/trust/shapes.ts'

const rotation = (state: string) =>
  parseRotation({
    id: 'r1',
    kind: 'control-plane',
    state,
    step: 'active',
    startedAt: '2026-05-01T12:00:00Z',
    from: 'old',
    to: 'new',
  })

test('a centre that shows another certificate meanwhile is believed by what the context says then', async () => {
  const printed: string[] = []
  let ca = 'old'
  const centre = (): Centre => {
    const now = ca
    const send = async () => {
      // The context is written anew while somebody waits.
      ca = 'new'
      if (now === 'old') throw Object.assign(new Error('unable to verify'), { code: 'CERT_SIGNATURE_FAILURE' })
      return { status: 200, text: JSON.stringify({ ...rotation('done') }), headers: {} }
    }
    return { url: 'https://127.0.0.1:7400', ca: now, send } as unknown as Centre
  }
  const ended = await followRotation(centre, rotation('running'), {
    ...{ now: () => Date.parse('2026-05-01T12:00:09Z'), everyMs: 1 },
    print: (text) => void printed.push(text),
  })
  expect(ended.state).toBe('done')
  expect(printed.filter((text) => text.startsWith('the centre does not answer'))).toHaveLength(1)
  expect(printed.at(-1)).toContain('done')
})

test('of a step that goes on only the lines are printed that changed', async () => {
  const printed: string[] = []
  const waits = (...clusters: string[]) =>
    clusters.map((cluster) => ({ cluster, what: 'bundle', detail: `${clusters.length} left` }))
  const answers = [
    { ...rotation('running'), waitsFor: waits('oslo', 'paris') },
    { ...rotation('running'), waitsFor: [...waits('oslo', 'paris').slice(0, 1), ...waits('rome')] },
    rotation('done'),
  ]
  const send = async () => ({ status: 200, text: JSON.stringify(answers.shift()), headers: {} })
  const centre = () => ({ url: 'https://127.0.0.1:7400', ca: '', send }) as unknown as Centre
  const [first] = answers.splice(0, 1)
  await followRotation(centre, parseRotation(first), {
    ...{ now: () => Date.parse('2026-05-01T12:00:09Z'), everyMs: 1 },
    print: (text) => void printed.push(text),
  })
  expect(printed).toHaveLength(3)
  expect(printed[1]).toBe('  waits for rome: its relay to take the bundle: 1 left\n')
})
