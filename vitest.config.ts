import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const ci = process.env['CI'] === 'true'

/**
 * Fleets of real programs in which it matters when something happens: one file at a time, after all others, so that times
 * mean something on two cores. All other suites, those with real parts too, mostly wait; two at a time fill two cores.
 */
const serial = ['tests/e2e/{protocols,sandbox,tour}.test.ts', 'tests/contract/ads-envoy.test.ts']

/** A quarter of an hour by itself: `npm run test:rotation`. */
const long = 'tests/rotation/rotation.test.ts'

/**
 * Programs killed at every single step, lines cut, a root replaced, stores brought back: `npm run test:crashes`, minutes by
 * itself, beside `npm test`.
 */
const crashes = ['tests/contract/store-crash.test.ts', 'tests/scenario/{rotation,rotation-kill,trust-restore}.test.ts']
/** Roots of other kinds, and secrets planted everywhere: `npm test` has no room for them, and the same suite has. */
const otherRoots = [
  'tests/scenario/{key-service,plugged-root,shared-domain}.test.ts',
  'tests/e2e/trust-canaries.test.ts',
  'tests/contract/inbound-trust-revoked.test.ts',
]
/** Of these `npm test` has a part, and that run all. */
const histories = 'mesh/policy/judge-health-property.test.ts'
const crashesInTime = ['tests/e2e/outage.test.ts', 'tests/contract/faults.test.ts']
/** A minute of the rotation, with the proof that its order matters; and who is shut out, cluster or other mesh, and how soon. */
const trustInTime = ['tests/rotation/short.test.ts', 'tests/e2e/{trust-revocation,trust-foreign}.test.ts']
const isCrashes = process.env['ISTHMUS_CRASHES'] !== undefined
const apart = isCrashes ? [] : [...crashes, ...otherRoots, ...crashesInTime, ...trustInTime]

/** Some minutes by itself: `npm run test:failover`. */
const failover = 'tests/failover/{drain,failover,probe,traffic}.test.ts'

/** Real Kubernetes API servers, in a network of their own: `npm run test:kubernetes`. */
const kubernetes = 'tests/kubernetes/*.test.ts'

/** What only its own script runs. */
const named = [
  ...(process.env['ISTHMUS_ROTATION'] ? [long] : []),
  ...(process.env['ISTHMUS_FAULTS'] ? crashesInTime : []),
  ...(process.env['ISTHMUS_FAILOVER'] ? [failover] : []),
  ...(process.env['ISTHMUS_KUBERNETES'] ? [kubernetes] : []),
]

/** Programs that tests start from their sources find here what an earlier start compiled: half of the time of each start. */
const env = {
  NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/isthmus-compiled', import.meta.url)),
}

export default defineConfig({
  test: {
    reporters: ci
      ? ['default', ['json', { outputFile: process.env['ISTHMUS_REPORT'] ?? 'test-output/vitest.json' }]]
      : ['default'],
    allowOnly: !ci,
    passWithNoTests: false,
    env,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // The usual second is less than a busy machine may take to get around to it.
    expect: { poll: { timeout: 20_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: 'rooms',
          include: isCrashes ? [...crashes, ...otherRoots, histories] : ['**/*.test.ts'],
          exclude: [
            '**/node_modules/**',
            'gen/**',
            '**/gen.*/**',
            'dist/**',
            long,
            failover,
            kubernetes,
            ...serial,
            ...apart,
          ],
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'serial',
          include: isCrashes ? [...crashesInTime, ...trustInTime] : [...serial, ...named],
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
