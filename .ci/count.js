// Adds up what .ci/run saw: the report that vitest wrote, and one verdict for each further check. Plain JavaScript.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/**
 * `{ passed, failed, skipped, reasons }` over all suites, `{ name, passed, report }` with what vitest wrote (undefined:
 * nothing), and all further checks, `{ name, passed }`.
 *
 * The verdict on a suite is not counted beside its tests, except where it failed and no test did: set-up that ended
 * early, an error outside a test, no test at all. A file that did not load has no tests and counts as one failure.
 */
export function count(suites, checks) {
  const counted = suites.map(countSuite)
  const sum = (of) => counted.reduce((all, one) => all + of(one), 0)
  const reasons = [
    ...counted.flatMap((one) => one.reasons),
    ...checks.filter((one) => !one.passed).map(({ name }) => name),
  ]
  return {
    passed: sum((one) => one.passed) + checks.filter((one) => one.passed).length,
    failed: reasons.length,
    skipped: sum((one) => one.skipped),
    reasons,
  }
}

function countSuite({ name, passed: well, report }) {
  const files = report?.testResults ?? []
  const tests = files.flatMap((file) => file.assertionResults)
  const broken = files.filter((file) => file.status === 'failed' && !file.assertionResults.some(hasFailed))
  const reasons = [
    ...broken.map((file) => `${file.name} did not load, or failed outside its tests`),
    ...tests.filter(hasFailed).map((test) => test.fullName),
  ]
  if (!well && reasons.length === 0) reasons.push(`${name} (no single test is to blame)`)
  else if (tests.length === 0) reasons.push(`${name}: no test ran`)
  return {
    passed: tests.filter((test) => test.status === 'passed').length,
    skipped: tests.filter((test) => test.status !== 'passed' && !hasFailed(test)).length,
    reasons,
  }
}

const hasFailed = (test) => test.status === 'failed'

/** Of each suite `name=passed:report.json`, of each other check `name=passed`; `failed` where it did. */
function main(said) {
  const verdicts = said.map((text) => {
    const [, name, verdict, path] = /^(.+?)=(passed|failed)(?::(.+))?$/.exec(text) ?? []
    return { name: name ?? text, passed: verdict === 'passed', path }
  })
  const suites = verdicts
    .filter(({ path }) => path !== undefined)
    .map((one) => ({ ...one, report: readReport(one.path) }))
  const { passed, failed, skipped, reasons } = count(
    suites,
    verdicts.filter(({ path }) => path === undefined),
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
