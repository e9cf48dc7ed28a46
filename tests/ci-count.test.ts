import { expect, test } from 'vitest'
import { count } from '../.ci/count.js'

const file = (status: string, ...tests: readonly string[]) => ({
  name: 'a.test.ts',
  status,
  assertionResults: tests.map((one, at) => ({ fullName: `test ${at}`, status: one })),
})
const all = (tests: boolean, lint = true) => [
  { name: 'tests', passed: tests },
  { name: 'lint', passed: lint },
]

test.each([
  ['tests and checks add up', [file('passed', 'passed', 'passed')], all(true), [3, 0, 0]],
  ['a failed check counts', [file('passed', 'passed')], all(true, false), [1, 1, 0]],
  ['a failed test counts once', [file('failed', 'passed', 'failed')], all(false), [2, 1, 0]],
  ['a skipped test is said', [file('passed', 'passed', 'pending', 'skipped', 'todo')], all(true), [2, 0, 3]],
  ['a file that does not load is a failure', [file('failed'), file('passed', 'passed')], all(false), [2, 1, 0]],
  ['so is a hook that fails', [file('failed', 'skipped'), file('passed', 'passed')], all(false), [2, 1, 1]],
  ['an error outside all tests is a failure', [file('passed', 'passed')], all(false), [2, 1, 0]],
  ['nothing ran is a failure', [], all(true), [1, 1, 0]],
])('%s', (_, testResults, verdicts, [passed, failed, skipped]) => {
  expect(count({ testResults }, verdicts)).toMatchObject({ passed, failed, skipped })
})

test('no report at all is a failure', () => {
  expect(count(undefined, all(false))).toMatchObject({ passed: 1, failed: 1 })
})
