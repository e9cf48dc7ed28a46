import { expect, test } from 'vitest'
import { slopeOf } from '#tests/bench/slope.ts'

const line = (...ys: readonly number[]) => ys.map((y, x) => ({ x, y }))

test.each([
  ['a straight line', line(5, 8, 11, 14), 3],
  ['noise to both sides falls out', line(5, 9, 10, 14), 2.8],
  ['nothing grows', line(7, 7, 7), 0],
  [
    'points at uneven distances',
    [
      { x: 2, y: 1 },
      { x: 4, y: 2 },
      { x: 10, y: 5 },
    ],
    0.5,
  ],
])('%s', (_name, points, slope) => {
  expect(slopeOf(points)).toBeCloseTo(slope, 9)
})

test('one point has no slope', () => {
  expect(slopeOf([{ x: 1, y: 1 }])).toBeNaN()
})
