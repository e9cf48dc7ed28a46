import { expect, test } from 'vitest'
import { failureText, self, typeable } from '#mesh/model/failure-text.ts'
import { Problem } from '#mesh/model/problem.ts'

const linesOf = (problem: Problem, what = 'get clusters') => failureText(what, problem, 'look at it').split('\n')

test('what mends it is the command that the message ends in, as it is typed here; else what the caller knows', () => {
  const mending = (message: string) => linesOf(new Problem('conflict', message))
  const on = '  on          isthmus get clusters'
  expect(mending('there is no "x": isthmus cluster create x')).toEqual([
    ...['isthmus: get clusters failed: there is no "x"', on, `  to mend it  ${self} cluster create x`, ''],
  ])
  expect(mending('Unknown option "--frob"; see: isthmus get --help')).toEqual([
    ...['isthmus: get clusters failed: Unknown option "--frob"', on, `  to mend it  ${self} get --help`, ''],
  ])
  expect(mending('it is away')).toEqual([
    'isthmus: get clusters failed: it is away',
    on,
    '  to mend it  look at it',
    '',
  ])
})

test('the problem’s own object and mend come first, and several violations are all told', () => {
  const violations = ['a', 'b'].map((path) => ({ path, reason: 'is wrong' }))
  const problem = new Problem('invalid', 'two faults', { violations, extra: { on: 'f.yaml:3', mend: 'correct them' } })
  expect(linesOf(problem, '')).toEqual([
    ...[
      'isthmus: two faults',
      '  a: is wrong',
      '  b: is wrong',
      '  on          f.yaml:3',
      '  to mend it  correct them',
      '',
    ],
  ])
})

test('our commands become what is typed here; other words that begin alike do not', () => {
  expect(typeable('see isthmus status')).toBe(`see ${self} status`)
  for (const text of [`${self} status`, 'in /var/isthmus status', 'isthmus is away', 'isthmus-relay status'])
    expect(typeable(text)).toBe(text)
})

test('what a refused file holds does not move the cursor of whoever reads why', () => {
  const [first] = linesOf(new Problem('invalid', 'not JSON: \u001b]0;x\u0007\u009b2J'), 'trust federate')
  expect(first).toBe('isthmus: trust federate failed: not JSON: ?]0;x??2J')
})
