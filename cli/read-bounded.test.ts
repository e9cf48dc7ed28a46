import { expect, test } from 'vitest'
import { readBounded } from '#cli/read-bounded.ts'

test('a file without end is read to one byte past the bound', () => {
  expect(readBounded('/dev/zero', 100_000)).toHaveLength(100_001)
  expect(readBounded('/dev/null', 100_000)).toHaveLength(0)
})
