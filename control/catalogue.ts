import type { Centre } from '#control/centre.ts'
import { datedExports, loadAllNarrowings, loadPolicySet, narrowingFrom } from '#control/load-fleet.ts'
import { parseReport, type Report } from '#control/parse-report.ts'
import { type ClusterRow, loadMembers } from '#control/store/clusters.ts'
import { loadLastCompiled } from '#control/store/compiled.ts'
import type { Tx } from '#control/store/database.ts'
import type { ServiceExportRow } from '#control/store/exports.ts'
import { loadLive, loadStreams } from '#control/store/streams.ts'
import type { Json } from '#mesh/model/canonical.ts'
import type { Condition, ImportedService } from '#mesh/model/cluster-config.ts'
import type { ExportNarrowing } from '#mesh/model/fleet.ts'
import type { ServiceKey } from '#mesh/model/id.ts'
import { type Groups, groupsOf } from '#mesh/policy/tiers-of-policy.ts'
import { parseClusterConfig } from '#mesh/wire/cluster-config.ts'
import { reportStream } from '#mesh/wire/stream.ts'

/** What one member reports, as people look at it. */
export type ReportedMember = Report & { readonly row: ClusterRow }

/** What was compiled last for one member, as people look at it. */
export type CompiledMember = {
  readonly row: ClusterRow
  readonly revision: number
  readonly at: number
  readonly imports: ReadonlyMap<ServiceKey, ImportedService>
  readonly conditions: readonly Condition[]
}

/** Who may use exports, beside what exporters say: the operator's lists, and the groups that any list may name. */
export type Narrowings = {
  readonly rows: readonly ServiceExportRow[]
  readonly narrowings: readonly ExportNarrowing[]
  readonly groups: Groups
}

/** Reads of what is derived. What has not moved since the last look is not read again. */
export type Catalogue = {
  reports(): Promise<ReportedMember[]>
  compiled(): Promise<CompiledMember[]>
  narrowings(): Promise<Narrowings>
}

export function openCatalogue(centre: Centre): Catalogue {
  const reports = new Map<string, { readonly position: string; readonly report: Report }>()
  const compiled = new Map<string, CompiledMember>()
  const { db, mesh } = centre

  return {
    reports: () =>
      db.read(async (tx) => {
        const members = await loadMembers(tx, mesh)
        const rows = await loadStreams(tx, mesh, ['rep'])
        const positions = new Map(rows.map((row) => [row.stream, `${row.epoch} ${row.head}`]))
        for (const name of reports.keys()) if (!positions.has(name)) reports.delete(name)
        const all: ReportedMember[] = []
        for (const row of members) all.push({ row, ...(await reportOf(tx, row, positions)) })
        return all
      }),
    compiled: () =>
      db.read(async (tx) => {
        const all: CompiledMember[] = []
        for (const row of await loadMembers(tx, mesh)) {
          const one = await compiledOf(tx, row)
          if (one) all.push(one)
        }
        return all
      }),
    narrowings: async () => {
      const rows = await db.read((tx) => loadAllNarrowings(tx, mesh))
      const groups = groupsOf((await db.read((tx) => loadPolicySet(tx, mesh))).groups)
      return { rows, narrowings: rows.map(narrowingFrom), groups }
    },
  }

  async function reportOf(tx: Tx, row: ClusterRow, positions: ReadonlyMap<string, string>): Promise<Report> {
    const stream = reportStream(row.name)
    const position = positions.get(stream) ?? ''
    const known = reports.get(stream)
    if (known?.position === position) return known.report
    const said = parseReport(await loadLive(tx, { mesh, stream }))
    const report = { ...said, exports: await datedExports(tx, row, said.exports) }
    reports.set(stream, { position, report })
    return report
  }

  async function compiledOf(tx: Tx, row: ClusterRow): Promise<CompiledMember | undefined> {
    const last = await loadLastCompiled(tx, mesh, row.name)
    if (!last) return undefined
    const known = compiled.get(row.name)
    if (known && known.revision === last.revision) return { ...known, row }
    const entries = new Map(Object.entries(JSON.parse(last.body) as { readonly [key: string]: Json }))
    const { imports, conditions } = parseClusterConfig(entries)
    const one: CompiledMember = { row, revision: last.revision, at: last.at, imports, conditions }
    compiled.set(row.name, one)
    return one
  }
}
