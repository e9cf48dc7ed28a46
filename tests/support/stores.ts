import { randomUUID } from 'node:crypto'
import { type ClusterRow, insertCluster } from '#control/store/clusters.ts'
import { type Database, type DatabaseSettings, openDatabase } from '#control/store/database.ts'
import { saveMesh } from '#control/store/meshes.ts'
import { canonicalJson, hashOf, type Json } from '#mesh/model/canonical.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import type { StreamDelta } from '#mesh/wire/pull.ts'
import { emptyRoot, rootOf } from '#mesh/wire/root.ts'
import { formatEpoch, type SyncRequest } from '#mesh/wire/sync.ts'
import { meshSyncText } from '#mesh/wire/version.ts'
import { databaseTemplate } from '#tests/support/database-template.ts'

const quiet = () => undefined
export const silentLog = { info: quiet, warn: quiet, error: quiet }

/** A database for one test file: in memory where nothing else is said. A new one is the copy of a template. */
export async function openTestDatabase(settings: Partial<DatabaseSettings> = {}): Promise<Database> {
  const template = settings.url === undefined ? await databaseTemplate() : undefined
  return openDatabase({ log: silentLog, template, ...settings })
}

/** A member of a mesh, as if it had joined. Each test takes a mesh of its own, so that one database serves a file. */
export async function joined(
  database: Database,
  mesh: string,
  name: string,
  more: Partial<ClusterRow> = {},
): Promise<ClusterRow> {
  const row: ClusterRow = {
    mesh: parseMeshName(mesh),
    id: randomUUID(),
    name,
    state: 'joined',
    generation: 1,
    trustDomain: `${name}.${mesh}`,
    network: `net-${name}`,
    region: 'eu-1',
    keyThumbprint: null,
    keyJwk: null,
    relayVersion: '0.1.0',
    meshSync: meshSyncText,
    createdAt: 1,
    joinedAt: 1,
    lastSeenAt: null,
    revision: 1,
    issuingBefore: null,
    sharedDomain: null,
    ...more,
  }
  await database.transact(async (tx) => {
    await saveMesh(tx, parseMeshName(mesh), 1)
    await insertCluster(tx, row)
  })
  return row
}

/** The n-th epoch of a test: a later one sorts after it, and none is ahead of any clock. */
export const epochOf = (n: number): string => formatEpoch(n, '00000000')

/** A relay's end of the sync protocol in the plainest form: it tells what differs from what it has told. */
export class Reporter {
  seq = 0
  epoch: string
  told = new Map<string, Json>()

  constructor(epoch = epochOf(1)) {
    this.epoch = epoch
  }

  /** The next batch, which says `changes`; undefined = gone. */
  batch(changes: Readonly<Record<string, Json | undefined>>, more: Partial<SyncRequest> = {}): SyncRequest {
    for (const [key, value] of Object.entries(changes))
      if (value === undefined) this.told.delete(key)
      else this.told.set(key, value)
    this.seq++
    return {
      proto: meshSyncText,
      epoch: this.epoch,
      seq: this.seq,
      items: Object.entries(changes).map(([k, v]) => ({ k, v: (v ?? null) as Record<string, unknown> | null })),
      root: rootOf([...this.told].map(([key, value]) => [key, hashOf(value)])),
      ...more,
    }
  }

  /** Forgets what it told, as a relay that lost its disk. */
  restart(epoch: string): void {
    this.epoch = epoch
    this.seq = 0
    this.told = new Map()
  }
}

/** A reader's end of the pull protocol in the plainest form: whole streams by name, checked by their roots. */
export type Held = { epoch: string; rev: number; items: Map<string, string> }

export function take(held: Map<string, Held>, pages: readonly StreamDelta[]): void {
  const last = pages.at(-1)
  if (!last) return
  const before = last.mode === 'delta' ? held.get(last.stream)?.items : undefined
  const items = new Map(before ?? [])
  for (const page of pages)
    for (const { k, v } of page.items)
      if (v === null) items.delete(k)
      else items.set(k, canonicalJson(v as Json))
  held.set(last.stream, { epoch: last.epoch, rev: last.to, items })
  const root = items.size === 0 ? emptyRoot : rootOf([...items].map(([k, v]) => [k, hashOf(JSON.parse(v) as Json)]))
  if (root !== last.root) throw new Error(`stream ${last.stream} at ${last.to}: the root differs`)
}

export const exported = (more: Readonly<Record<string, Json>> = {}): Json => ({
  ports: [{ name: 'http', port: 9080, protocol: 'http', declared: true }],
  serviceAccounts: ['reviews'],
  createdAt: 1,
  headless: false,
  ...more,
})

export const summary = (ready: number, flat = false): Json => ({
  counts: [{ port: 9080, region: 'eu-1', zone: 'a', ready, total: ready }],
  ...(flat
    ? { flat: [{ address: '10.0.0.1', port: 9080, servicePort: 9080, region: 'eu-1', zone: 'a', draining: false }] }
    : {}),
})

export const gateways: Json = { gateways: [{ address: '127.21.0.2', port: 15443, state: 'ready' }] }

export const facts = (network: string): Json => ({
  ...{ network, region: 'eu-1', relayVersion: '0.1.0', meshSync: meshSyncText },
})
