import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measurePushes, type Pushes } from '#tests/bench/pushes.ts'
import { measureRestart } from '#tests/bench/restart.ts'

// `npm run bench`: what travels to a proxy for one change. `--smoke` is the short form for CI: it fails when a count that
// cannot be noise is not what the design promises. The long form also takes times, and fails on none of them.
const { values } = parseArgs({ options: { smoke: { type: 'boolean', default: false } } })
const scale = values.smoke
  ? { services: 200, endpoints: 10, large: 100, remote: 2 }
  : { services: 200, endpoints: 10, large: 1000, remote: 2 }
const pushes = await measurePushes(scale)

console.log(
  `One sidecar, delta ADS over TLS: ${scale.services} services × ${scale.endpoints} endpoints, one of ${scale.large}, ${scale.remote} remote clusters.`,
)
console.table(
  Object.fromEntries(
    Object.entries(pushes).map(([name, { resources, removed, bytes }]) => [name, { resources, removed, bytes }]),
  ),
)
const restart = values.smoke ? undefined : await measureRestart()
if (restart) {
  console.log('A relay started again with its state on disk and the centre dead, ms from exec (median of 5):')
  console.table({ 'bundled relay': restart })
}
const output = join(import.meta.dirname, '../../test-output')
mkdirSync(output, { recursive: true })
writeFileSync(join(output, 'bench.json'), JSON.stringify({ scale, pushes, restart }, null, 2))

const faults = check(pushes)
for (const fault of faults) console.error(`✘ ${fault}`)
process.exitCode = faults.length === 0 ? 0 : 1

/** The promises, by change: at most so many resources. */
function check(seen: Pushes): string[] {
  const most: Readonly<Record<string, number>> = {
    nothing: 0,
    'one endpoint added': 1,
    'one weight changed': 1,
    'one remote count changed': 1,
    'one service added': 3,
    'one service removed': 3,
    'reconnect, nothing changed': 0,
  }
  const over = Object.entries(most).flatMap(([name, limit]) => {
    const push = seen[name]
    if (!push) return [`${name}: not measured`]
    return push.resources + push.removed > limit
      ? [
          `${name}: ${push.resources} resources sent and ${push.removed} removed, at most ${limit}: ${push.names.join(', ')}`,
        ]
      : []
  })
  const first = seen['first connection']
  return (first?.resources ?? 0) > scale.services
    ? over
    : [...over, 'the first connection was sent too little to be true']
}
