import type { StreamDelta } from '#mesh/wire/pull.ts'
import { sourceOf } from '#mesh/wire/stream.ts'

/**
 * One new revision of one stream, on its way to its readers. A change that is only known to have happened (a repeated
 * sync) has no delta.
 */
export type StreamChange = {
  readonly stream: string
  readonly epoch: string
  readonly rev: number
  /** Absent = every member of the mesh. The source of an `ep` stream never reads it. */
  readonly readers?: ReadonlySet<string>
  readonly delta?: StreamDelta
}

/** The change that a delta is: of `cfg/<cluster>` for that cluster, of `trust` and `adv` for everybody. */
export function changeOf(delta: StreamDelta): StreamChange {
  const { stream, epoch, to: rev } = delta
  const [kind, cluster = ''] = stream.split('/')
  return { stream, epoch, rev, delta, ...(kind === 'cfg' ? { readers: new Set([cluster]) } : {}) }
}

/** True where the cluster may be told of the change. */
export const reads = (cluster: string, { stream, readers }: StreamChange): boolean =>
  sourceOf(stream) !== cluster && (readers === undefined || readers.has(cluster))
