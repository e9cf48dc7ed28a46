import { defineConfig } from 'vitest/config'

const ci = process.env['CI'] === 'true'

/**
 * Suites with many real programs, or where it matters when something happens: one file at a time, after all others, so that
 * times mean something on two cores. The other contracts and the scenarios mostly wait, for a disk or for each other.
 */
const serial = [
  'tests/e2e/**/*.test.ts',
  'tests/contract/{ads,ads-envoy,channel,faults,inbound-trust,trust-envoy}.test.ts',
]

export default defineConfig({
  test: {
    reporters: ci ? ['default', ['json', { outputFile: 'test-output/vitest.json' }]] : ['default'],
    allowOnly: !ci,
    passWithNoTests: false,
    projects: [
      {
        extends: true,
        test: {
          name: 'rooms',
          include: ['**/*.test.ts'],
          exclude: ['**/node_modules/**', 'gen/**', '**/gen.*/**', 'dist/**', ...serial],
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'serial',
          include: serial,
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 120_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
