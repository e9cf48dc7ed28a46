import { join } from 'node:path'
import { z } from 'zod'
import { loadKept, saveKept } from '#gateway/kept-file.ts'
import { relayVersion } from '#gateway/version.ts'
import type { KeptObjects } from '#gateway/watch/kube-keep.ts'
import type { KubeObject } from '#gateway/watch/kube-object.ts'
import type { PlacedObject } from '#gateway/watch/parse-file.ts'

const placed = z.object({
  id: z.string(),
  at: z.string(),
  object: z.looseObject({ kind: z.string() }).transform((object) => object as unknown as KubeObject),
})
/** Objects are kept as this version reads them: another version reads them anew. */
const keptSchema = z.object({ version: z.literal(relayVersion), objects: z.array(placed) })

/**
 * The own cluster's objects as last known, one file for each kind, for a relay that starts while its API server is away. A
 * file that is damaged counts as none, and `warn` says so.
 */
export function keptCluster(stateDir: string, warn: (text: string) => void): KeptObjects {
  const pathOf = (kind: string): string => join(stateDir, `kubernetes-${kind.toLowerCase()}.json`)
  return {
    load: (kind) => loadKept(pathOf(kind), (body): readonly PlacedObject[] => keptSchema.parse(body).objects, warn),
    save: (kind, objects) => saveKept(pathOf(kind), { version: relayVersion, objects }, warn),
  }
}
