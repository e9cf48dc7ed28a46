import { heldBack, isAhead } from '#control/held-back.ts'
import { loadAudiences } from '#control/store/audiences.ts'
import { loadMembers } from '#control/store/clusters.ts'
import type { Database, Tx } from '#control/store/database.ts'
import type { ClusterRow } from '#control/store/schema/cluster.ts'
import { deferred, type Position, readPage } from '#control/store/stream-pages.ts'
import { type HeadRow, loadDelivered, loadHeads, loadStreams, type StreamRow } from '#control/store/streams.ts'
import { together } from '#control/together.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import type { PullAnswer, PullRequest, StreamDelta } from '#mesh/wire/pull.ts'
import { adviceStream, cfgStream, everybody, sourceOf, trustStream } from '#mesh/wire/stream.ts'
import type { Head } from '#mesh/wire/sync.ts'
import { checkVersion, meshSyncText } from '#mesh/wire/version.ts'

export { hintFor } from '#control/hint-frame.ts'

export type Reader = Pick<ClusterRow, 'mesh' | 'name'>

/** What one answer may hold; the rest follows by `next`. */
const answerMax = { rows: 2000, bytes: 1024 * 1024 } as const

/**
 * The heads of all streams that a cluster may read: its own config, trust and advice of its mesh, and the summaries of
 * other clusters whose audience contains it. Never its own summaries, never what is meant for others.
 */
export async function headsFor(database: Database, reader: Reader): Promise<Head[]> {
  const { heads, audiences } = await allHeads(database, reader.mesh)
  const own = [cfgStream(reader.name), trustStream(reader.mesh), adviceStream(reader.mesh)]
  const isFor = (row: HeadRow) =>
    row.kind === 'ep' ? row.source !== reader.name && admits(audiences, row, reader.name) : own.includes(row.stream)
  return heads.filter(isFor).map(({ stream, epoch, head }): Head => [stream, epoch, head])
}

type Heads = {
  readonly heads: readonly HeadRow[]
  readonly audiences: ReadonlyMap<string, ReadonlySet<string>>
}

const headReads = new WeakMap<Database, Map<string, () => Promise<Heads>>>()

/**
 * The heads of a mesh as they stand now. Every member asks after each of its reports: those that ask while others are
 * answered are answered together, by a read that begins after all of them have asked.
 */
function allHeads(database: Database, mesh: string): Promise<Heads> {
  const meshes = headReads.get(database) ?? new Map<string, () => Promise<Heads>>()
  headReads.set(database, meshes)
  const ask = meshes.get(mesh) ?? together(() => database.read((tx) => loadAllHeads(tx, mesh)))
  meshes.set(mesh, ask)
  return ask()
}

async function loadAllHeads(tx: Tx, mesh: string): Promise<Heads> {
  const heads = await loadHeads(tx, mesh)
  const named = heads.filter((row) => row.kind === 'ep' && row.audience !== everybody).map((row) => row.audience)
  return { heads, audiences: await loadAudiences(tx, mesh, named) }
}

const admits = (
  audiences: ReadonlyMap<string, ReadonlySet<string>>,
  { audience }: Pick<StreamRow, 'audience'>,
  name: string,
): boolean => audience === everybody || (audiences.get(audience)?.has(name) ?? false)

/**
 * Everything that a cluster lacks: each stream that it may read and that differs from `have`, as a delta or a snapshot,
 * in pages. A stream whose turn did not come in this answer is named with no items and a `next`. `gone` names streams
 * that it may certainly not read any more; a stream that is only missing (a centre that lost its disk and has not heard
 * the source yet) is not mentioned, and the reader keeps it. So is one that the reader is ahead of, while the restored
 * store catches up.
 */
export async function pull(database: Database, reader: Reader, request: PullRequest, now: number): Promise<PullAnswer> {
  checkVersion(request.proto, 'relay')
  const have = new Map(
    request.have.map(([stream, epoch, rev], n) => [stream, { epoch, rev, root: request.roots?.[n] ?? '' }]),
  )
  const seen = await database.read((tx) => loadReadable(tx, reader))
  const ahead = seen.readable.filter((row) => isAhead(have.get(row.stream), row, now))
  const held = ahead.length === 0 ? undefined : await heldBack(database, reader.mesh, ahead, now)
  return database.read(async (tx) => {
    const { readable, known } = await loadReadable(tx, reader)
    const streams: StreamDelta[] = []
    let { rows, bytes }: { rows: number; bytes: number } = answerMax
    for (const row of readable) {
      if (held?.has(row.stream)) continue
      const position = positionIn(have.get(row.stream), row)
      const next = request.next?.[row.stream]
      if (next === undefined && position?.rev === row.head) continue
      const full = rows <= 0 || bytes <= 0
      const page = full
        ? deferred(row, row, position)
        : await readPage(tx, row, { have: position, next }, { rows, bytes })
      if (!page) continue
      streams.push(page)
      rows -= page.items.length
      bytes -= JSON.stringify(page.items).length
    }
    const unread = request.have.map(([stream]) => stream).filter((stream) => !readable.some((r) => r.stream === stream))
    return { streams, gone: await goneOf(tx, reader, { unread, known }), proto: meshSyncText, time: now }
  })
}

/**
 * Nothing of the same epoch = nothing. So is a position ahead of the head, and a head that holds something else: a store
 * that was restored has given its number out again, to a reader that was away meanwhile.
 */
function positionIn(have: (Position & { readonly root: string }) | undefined, row: StreamRow): Position {
  if (have?.epoch !== row.epoch || have.rev > row.head) return undefined
  return have.rev === row.head && !row.root.startsWith(have.root) ? undefined : have
}

type Streams = {
  readonly readable: readonly StreamRow[]
  /** Names of all `ep` streams of the mesh, also of those that others read. */
  readonly known: ReadonlySet<string>
}

async function loadReadable(tx: Tx, { mesh, name }: Reader): Promise<Streams> {
  const rows = await loadDelivered(tx, mesh, [cfgStream(name), trustStream(mesh), adviceStream(mesh)])
  const foreign = rows.filter((row) => row.kind !== 'ep' || row.source !== name)
  const named = foreign.filter((row) => row.kind === 'ep' && row.audience !== everybody).map((row) => row.audience)
  const audiences = await loadAudiences(tx, mesh, named)
  const readable = foreign.filter((row) => row.kind !== 'ep' || admits(audiences, row, name))
  return { readable, known: new Set(rows.filter((row) => row.kind === 'ep').map((row) => row.stream)) }
}

async function goneOf(
  tx: Tx,
  { mesh, name }: Reader,
  { unread, known }: { readonly unread: readonly string[]; readonly known: ReadonlySet<string> },
): Promise<string[]> {
  if (unread.length === 0) return []
  const own = new Set([cfgStream(name), trustStream(mesh), adviceStream(mesh)])
  const members = new Set((await loadMembers(tx, parseMeshName(mesh))).map((row) => row.name))
  const reported = new Set(
    (await loadStreams(tx, mesh, ['rep'])).filter((row) => row.complete).map((row) => row.source),
  )
  return unread.filter((stream) => {
    const source = sourceOf(stream)
    if (source === undefined) return !own.has(stream)
    return source === name || known.has(stream) || !members.has(source) || reported.has(source)
  })
}
