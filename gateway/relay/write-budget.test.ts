import { expect, test } from 'vitest'
import { createWriteBudget } from '#gateway/relay/write-budget.ts'

test('one identity waits when its clients hold too much, others do not', () => {
  const budget = createWriteBudget(100)
  let resumed = 0
  const resume = () => {
    resumed += 1
  }
  const [web, again, api] = ['web', 'web', 'api'].map(budget.open)
  web?.written(60)
  expect(web?.mayWrite(resume)).toBe(true)
  again?.written(60)
  expect(web?.mayWrite(resume)).toBe(false)
  expect(again?.mayWrite(resume)).toBe(false)
  expect(api?.mayWrite(resume)).toBe(true)
  web?.gone(60)
  expect(resumed).toBe(1)
  expect(again?.mayWrite(resume)).toBe(true)
})

test('an account lives as long as one of its streams', () => {
  const budget = createWriteBudget(100)
  const [first, second] = ['web', 'web'].map(budget.open)
  first?.written(200)
  second?.close()
  expect(budget.open('web').mayWrite(() => undefined)).toBe(false)
  first?.gone(200)
  for (const stream of [first, second]) stream?.close()
  const anew = budget.open('web')
  expect(anew).not.toBe(first)
  expect(anew.mayWrite(() => undefined)).toBe(true)
})
