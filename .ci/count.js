// Adds up what .ci/run saw: the report that vitest wrote, and one verdict for each further check. Plain JavaScript.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * `{ passed, failed, skipped, reasons }` over all tests of the report (undefined: vitest wrote none) and all verdicts.
 *
 * The verdict on `tests` itself is not counted beside its tests, except where it failed and no test did: set-up that
 * ended early, an error outside a test, no test at all. A file that did not load has no tests and counts as one failure.
 */
export function count(report, verdicts) {
  const files = report?.testResults ?? []
  const tests = files.flatMap((file) => file.assertionResults)
  const broken = files.filter((file) => file.status === 'failed' && !file.assertionResults.some(hasFailed))
  const others = verdicts.filter(({ name }) => name !== 'tests')
  const reasons = [
    ...broken.map((file) => `${file.name} did not load, or failed outside its tests`),
    ...tests.filter(hasFailed).map((test) => test.fullName),
    ...others.filter((one) => !one.passed).map(({ name }) => name),
  ]
  const passed = tests.filter((test) => test.status === 'passed').length
  const silent = verdicts.some(({ name, passed: well }) => name === 'tests' && !well)
  if (silent && broken.length === 0 && !tests.some(hasFailed)) reasons.push('npm test (no single test is to blame)')
  else if (tests.length === 0) reasons.push('no test ran')
  return {
    passed: passed + others.filter((one) => one.passed).length,
    failed: reasons.length,
    skipped: tests.filter((test) => test.status !== 'passed' && !hasFailed(test)).length,
    reasons,
  }
}

const hasFailed = (test) => test.status === 'failed'

function main([path, ...verdicts]) {
  const { passed, failed, skipped, reasons } = count(
    readReport(path),
    verdicts.map((text) => ({ name: text.split('=')[0], passed: text.endsWith('=passed') })),
  )
  for (const reason of reasons) console.log(`failed: ${reason}`)
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  process.exitCode = failed > 0 ? 1 : 0
}

function readReport(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2))
