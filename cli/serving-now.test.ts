import { expect, test } from 'vitest'
import { triedInOrder } from '#cli/serving-now.ts'

const text = (tiers: unknown) => triedInOrder[1]({ tiers }, 0)

test.each([
  [
    'in order, those tried together in one place',
    [
      [{ cluster: 'a', ready: 2 }],
      [
        { cluster: 'b', ready: 1 },
        { cluster: 'c', ready: 3 },
      ],
    ],
    'a (2) > b (1) + c (3)',
  ],
  [
    'weights of a policy are said',
    [
      [
        { cluster: 'a', weight: 30, ready: 2 },
        { cluster: 'b', weight: 70, ready: 0 },
      ],
    ],
    'a ×30 (2) + b ×70 (0)',
  ],
  [
    'a cluster without a ready pod says so',
    [[{ cluster: 'a', ready: 0 }], [{ cluster: 'b', ready: 1 }]],
    'a (0) > b (1)',
  ],
  [
    'a count of one that has fallen silent is an old one',
    [[{ cluster: 'a', ready: 2, note: 'silent' }]],
    'a (2, silent)',
  ],
  ['a count that nobody has is not made up', [[{ cluster: 'a' }]], 'a'],
  ['nobody serves it', [], '–'],
])('%s', (_, tiers, shown) => expect(text(tiers)).toBe(shown))
