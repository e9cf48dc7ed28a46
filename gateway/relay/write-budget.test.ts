import { expect, test } from 'vitest'
import { createWriteBudget } from '#gateway/relay/write-budget.ts'

test('one identity waits when its clients hold too much, others do not', () => {
  const budget = createWriteBudget(100)
  let resumed = 0
  const resume = () => {
    resumed += 1
  }
  budget.written('web', 60)
  expect(budget.mayWrite('web', resume)).toBe(true)
  budget.written('web', 60)
  expect(budget.mayWrite('web', resume)).toBe(false)
  expect(budget.mayWrite('web', resume)).toBe(false)
  expect(budget.mayWrite('api', resume)).toBe(true)
  budget.gone('web', 60)
  expect(resumed).toBe(1)
  expect(budget.mayWrite('web', resume)).toBe(true)
})
