import { expect, test } from 'vitest'
import { count } from '../.ci/count.js'

const file = (status: string, ...tests: readonly string[]) => ({
  name: 'a.test.ts',
  status,
  assertionResults: tests.map((one, at) => ({ fullName: `test ${at}`, status: one })),
})
test.each([
  ['tests and checks add up', [file('passed', 'passed', 'passed')], [true], [3, 0, 0]],
  ['a failed check counts', [file('passed', 'passed')], [true, false], [1, 1, 0]],
  ['a failed test counts once', [file('failed', 'passed', 'failed')], [false], [2, 1, 0]],
  ['a skipped test is said', [file('passed', 'passed', 'pending', 'skipped', 'todo')], [true], [2, 0, 3]],
  ['a file that does not load is a failure', [file('failed'), file('passed', 'passed')], [false], [2, 1, 0]],
  ['so is a hook that fails', [file('failed', 'skipped'), file('passed', 'passed')], [false], [2, 1, 1]],
  ['an error outside all tests is a failure', [file('passed', 'passed')], [false], [2, 1, 0]],
  ['nothing ran is a failure', [], [true], [1, 1, 0]],
])('%s', (_, testResults, [tests, lint = true], [passed, failed, skipped]) => {
  const suites = [{ name: 'tests', passed: tests, report: { testResults } }]
  expect(count(suites, [{ name: 'lint', passed: lint }])).toMatchObject({ passed, failed, skipped })
})

test('no report at all is a failure', () => {
  expect(count([{ name: 'tests', passed: false }], [{ name: 'lint', passed: true }])).toMatchObject({
    passed: 1,
    failed: 1,
  })
})

test('two suites add up, and each must have run', () => {
  const suite = (name: string, ...results: readonly object[]) => ({
    name,
    passed: true,
    report: { testResults: results },
  })
  const both = [suite('tests', file('passed', 'passed')), suite('crashes', file('passed', 'passed', 'passed'))]
  expect(count(both, [])).toMatchObject({ passed: 3, failed: 0 })
  expect(count([both[0], suite('crashes')], [])).toMatchObject({ passed: 1, reasons: ['crashes: no test ran'] })
})
