import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type FleetCentre, fleetCentre } from '#tests/support/fleet-centre.ts'
import type { KubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { lan } from '#tests/support/kubernetes/lan.ts'
import { openSwitch } from '#tests/support/kubernetes/network.ts'
import { programPath, root } from '#tests/support/parts.ts'

/** A centre on the LAN of clusters, and the command line of its operator. */
export type MeshCentre = {
  readonly centre: FleetCentre
  /** Runs `isthmus` to its end. */
  isthmus(...words: readonly string[]): Promise<Ended>
  /** The words that name a cluster's API server. */
  at(cluster: KubeCluster): readonly string[]
  stop(): Promise<void>
}

export type Ended = { readonly code: number; readonly out: string; readonly err: string }

const port = 8443

export async function startMeshCentre(): Promise<MeshCentre> {
  await openSwitch(lan.device, `${lan.test}/${lan.bits}`)
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-centre-'))
  const centre = fleetCentre({
    ...{ program: await programPath('centre'), host: lan.test, port },
    ...{ dir: join(dir, 'centre'), log: join(dir, 'centre.log') },
  })
  await centre.start()
  const operator = ['--url', `https://${lan.test}:${port}`, '--ca-file', centre.caFile, '--key-file', centre.keyFile]
  return {
    centre,
    isthmus: (...words) =>
      new Promise((resolve) => {
        const env = { ...process.env, ISTHMUS_REGISTRY: 'registry.test', XDG_CONFIG_HOME: dir, KUBECONFIG: '' }
        execFile(process.execPath, [join(root, 'cli/isthmus.js'), ...operator, ...words], { env }, (fault, out, err) =>
          resolve({ code: fault === null ? 0 : Number(fault.code ?? 1), out, err }),
        )
      }),
    at: ({ kubeconfig }) => ['--kubeconfig', kubeconfig],
    stop: async () => {
      await centre.stop()
      if (process.env['ISTHMUS_KEEP'] === undefined) rmSync(dir, { recursive: true, force: true })
    },
  }
}
