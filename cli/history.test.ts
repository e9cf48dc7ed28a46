import { expect, test } from 'vitest'
import type { Centre } from '#cli/context.ts'
import { comparedIn, readHistory, readRevision } from '#cli/history.ts'
import { momentIn } from '#cli/rollback.ts'
import type { Problem } from '#mesh/model/problem.ts'

const refused = (work: () => unknown): Problem => {
  try {
    return work() as never
  } catch (error) {
    return error as Problem
  }
}

test('two revisions are named as numbers or as the history names them', () => {
  const both = { object: 'oslo-1', from: '41', to: '42' }
  expect(comparedIn('oslo-1', '41', '42')).toEqual(both)
  expect(comparedIn('oslo-1@41', '42')).toEqual(both)
  expect(comparedIn('oslo-1@41', 'oslo-1@42')).toEqual(both)
  expect(comparedIn('gtp/shop/cart@1')).toEqual({ object: 'gtp/shop/cart', from: '1', to: undefined })
  expect(refused(() => comparedIn('oslo-1')).message).toBe('it says no revision')
  expect(refused(() => comparedIn('oslo-1@1', '2', '3')).message).toBe('it says three revisions')
})

test('what has no history by its form is refused with what was probably meant', () => {
  for (const [said, near] of [
    ['shop/cart', 'gtp/shop/cart'],
    ['GTP/shop/cart', 'gtp/shop/cart'],
    ['policy/shop/cart', 'gtp/shop/cart'],
    ['sg/prod', 'group/prod'],
  ] as const)
    expect(refused(() => momentIn(`${said}@2`))).toMatchObject({
      message: expect.stringContaining(`"${said}" is no cluster`),
      extra: { mend: `isthmus rollback ${near}@2` },
    })
  expect(momentIn('group/prod@3')).toEqual({ object: 'group/prod', revision: 3 })
  for (const odd of ['oslo-1', 'oslo-1@0', 'oslo-1@-1', '@1', 'oslo-1@1@2', 'a b@1'])
    expect(refused(() => momentIn(odd)).kind, odd).toBe('invalid')
})

/** A centre that knows nothing by these words. */
const without = (detail: string): Centre =>
  ({
    ...{ url: 'https://centre.test:7400', relays: {} },
    send: async () => ({ status: 404, text: JSON.stringify({ detail }) }),
  }) as unknown as Centre

test('what is not there is refused with the list of what is', async () => {
  const none = await readHistory(without('gtp/shop/x has no history (any more)'), {
    object: 'gtp/shop/x',
    limit: '30',
  }).catch((error: Problem) => error)
  expect(none).toMatchObject({ kind: 'not-found', extra: { mend: 'isthmus history' } })
  const nowhere = await readRevision(without('there is no cluster "mars": see /v1/clusters'), 'mars', {
    revision: '1',
    now: 0,
  }).catch((error: Problem) => error)
  expect(nowhere).toMatchObject({ message: 'there is no cluster "mars"', extra: { mend: 'isthmus get clusters' } })
})
