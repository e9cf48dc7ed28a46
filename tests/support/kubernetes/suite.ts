import { describe } from 'vitest'
import { findKubernetes } from '#infra/setup/kubernetes.js'
import { whyNoLan } from '#tests/support/kubernetes/lan.ts'

/** Why no cluster can run here; undefined where one can. */
export function whyNoClusters(): string | undefined {
  if (whyNoLan() !== undefined) return whyNoLan()
  return findKubernetes() === undefined ? 'Kubernetes is not built: `npm run test:kubernetes` builds it' : undefined
}

/** As `describe`. Where no cluster can run the suite is left out, loudly; in CI it runs, and fails. */
export function describeWithClusters(name: string, suite: () => void): void {
  const why = process.env['CI'] === 'true' ? undefined : whyNoClusters()
  if (why !== undefined) process.stderr.write(`LEFT OUT: ${name}: ${why}\n`)
  describe.skipIf(why !== undefined)(name, suite)
}
