import { age, type Column, cell, type Row } from '#cli/output.ts'

const percent = (share: unknown): string => `${(Number(share) * 100).toFixed(1)} %`

/** What is not measured is never shown as none; not yet, where the relay tells and its first window is not over. */
const unmeasured = (row: Row): string => (row['proxies'] && row['at'] === null ? 'not measured yet' : 'not measured')

function measured(row: Row, name: string, text: (value: unknown) => string): string {
  if (typeof row['requestsPerSecond'] !== 'number') return unmeasured(row)
  return row[name] === null ? '–' : text(row[name])
}

const counted = (heading: string, name: string): Column => [heading, (row) => measured(row, name, cell)]

/** How many of the caller's proxies report, where some do not: `3 of 4`. */
function proxiesOf(row: Row): string {
  const { measured: some = 0, notMeasured = 0 } = (row['proxies'] ?? {}) as Record<string, number>
  return row['proxies'] ? (notMeasured === 0 ? String(some) : `${some} of ${some + notMeasured}`) : '–'
}

/** Of calls of this caller to the service, wherever they went. */
function milliseconds(row: Row): string {
  if (typeof row['p50Ms'] === 'number') return `${cell(row['p50Ms'])}/${cell(row['p90Ms'])}/${cell(row['p99Ms'])}`
  return row['requestsPerSecond'] === 0 ? '–' : unmeasured(row)
}

/** Intended and measured side by side. */
export const trafficColumns: readonly Column[] = [
  ['CALLER', (row) => cell(row['caller'])],
  ['SERVICE', (row) => cell(row['service'])],
  ['CALLEE', (row) => cell(row['callee'])],
  ['INTENDED', (row) => (typeof row['intended'] === 'number' ? percent(row['intended']) : '–')],
  ['MEASURED', (row) => measured(row, 'measured', percent)],
  counted('REQ/S', 'requestsPerSecond'),
  counted('ERR/S', 'errorsPerSecond'),
  counted('ACTIVE', 'active'),
  ['P50/P90/P99 MS', milliseconds],
  ['PROXIES', proxiesOf],
  ['AGE', (row, now) => age(row['at'], now)],
]
