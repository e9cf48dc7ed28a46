import type { Centre } from '#control/centre.ts'
import { appendCompiled, loadLastHead } from '#control/store/compiled.ts'
import type { Tx } from '#control/store/database.ts'
import { lockStream, type Write, writeItems } from '#control/store/stream-writes.ts'
import { liveKeys } from '#control/store/streams.ts'
import type { ClusterConfig } from '#mesh/model/cluster-config.ts'
import { type ConfigEntry, writtenOf } from '#mesh/wire/cluster-config.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { cfgStream } from '#mesh/wire/stream.ts'

type Entries = ReadonlyMap<string, ConfigEntry>

/** Where a config stands in its stream and in the history. */
export type ConfigPlace = {
  readonly epoch: string
  readonly head: number
  readonly revision: number
  /** How many revisions stand on each other, this one on top; 0 = it is kept whole. */
  readonly depth: number
}

/** A config as this process wrote it last. */
export type WrittenConfig = ConfigPlace & {
  readonly config: ClusterConfig
  readonly entries: Entries
  readonly hash: string
}

/** Each fiftieth revision is kept whole: none is read by putting more than that together. */
const depthMax = 49

/**
 * Writes what differs of a config to its stream and to the history, which stand together: whoever was delivered a config
 * can be shown it, and why. Where nobody else wrote since `last`, only what differs from that is looked at and kept; a
 * config of which one service changed costs that service and not all of them. Without `last` all of it is compared.
 */
export async function writeConfig(
  centre: Centre,
  tx: Tx,
  config: {
    readonly cluster: string
    readonly entries: Entries
    readonly hash: string
    readonly why: { readonly cause: string; readonly author: string; readonly policies: number }
    readonly last: WrittenConfig | undefined
  },
): Promise<ConfigPlace & { readonly delta?: StreamDelta }> {
  const { cluster, entries, hash, why, last } = config
  const [mesh, now] = [centre.mesh, centre.now()]
  const ref = { mesh, stream: cfgStream(cluster) }
  const row = await lockStream(tx, ref, now)
  const isOurs = last !== undefined && row.epoch === last.epoch && row.head === last.head
  const writes = isOurs ? differences(last.entries, entries) : differences(await liveKeys(tx, ref), entries)
  const { stream, delta } = await writeItems(tx, row, writes, { now })
  const place = { epoch: stream.epoch, head: stream.head, ...(delta ? { delta } : {}) }
  const head = await loadLastHead(tx, mesh, cluster)
  if (head?.hash === hash) return { ...place, revision: head.revision, depth: isOurs ? last.depth : depthMax }
  const revision = (head?.revision ?? 0) + 1
  const onTop = isOurs && head?.revision === last.revision && head.hash === last.hash && last.depth < depthMax
  const kept = onTop ? { base: last.revision, body: bodyOf(writes) } : { base: null, body: wholeOf(entries) }
  await appendCompiled(tx, { mesh, cluster, revision, hash, ...why, at: now, ackedAt: null, ...kept })
  return { ...place, revision, depth: onTop ? last.depth + 1 : 0 }
}

/** What is to be written where `before` is there: other bodies than those, and the end of keys that are no more. */
function differences(before: Entries | readonly string[], entries: Entries): Write[] {
  const old = Array.isArray(before) ? undefined : (before as Entries)
  const keys = old ? [...old.keys()] : (before as readonly string[])
  return [
    ...[...entries].filter(([key, body]) => old?.get(key) !== body).map(([key, body]) => writtenOf(key, body)),
    ...keys.filter((key) => !entries.has(key)).map((key) => ({ key, hash: '', body: '' })),
  ]
}

/** The entries are canonical JSON already, and in order where they are sorted by key. */
const wholeOf = (entries: Entries): string => bodyOf([...entries].map(([key, body]) => writtenOf(key, body)))

const bodyOf = (writes: readonly Write[]): string =>
  `{${writes
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ key, hash, body }) => `${JSON.stringify(key)}:${hash === '' ? 'null' : body}`)
    .join(',')}}`
