import { getTableColumns } from 'drizzle-orm'
import { type AnyPgTable, getTableConfig } from 'drizzle-orm/pg-core'
import { audit } from '#control/store/schema/audit.ts'
import { authorities } from '#control/store/schema/authority.ts'
import { certificates } from '#control/store/schema/certificate.ts'
import { clusters } from '#control/store/schema/cluster.ts'
import { exportAges } from '#control/store/schema/export-age.ts'
import { issuances } from '#control/store/schema/issuance.ts'
import { joinTokens } from '#control/store/schema/join-token.ts'
import { meshes } from '#control/store/schema/mesh.ts'
import { operatorKeys } from '#control/store/schema/operator-key.ts'
import { reportedFacts } from '#control/store/schema/reported-fact.ts'
import { serviceExports } from '#control/store/schema/service-export.ts'
import {
  drains,
  memberObjectHistory,
  memberObjects,
  meshMarks,
  policyHistory,
  samenessGroups,
  trafficPolicies,
} from '#control/store/schema/traffic.ts'
import { bundleLinks, foreignDomains, revocations, rotations, trustHeads } from '#control/store/schema/trust.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * The tables whose rows nobody can tell us again. The embedded database runs without fsync, so their rows are also
 * written to the journal, and whoever writes one of them says so in the same transaction:
 *
 *     const [row] = await tx.update(clusters).set({…}).where(…).returning()
 *     durable(tx, clusters, row)
 *
 * A transaction that wrote to one of them and did not say so is refused, whatever the engine: a forgotten call must not
 * be found out by a power cut.
 */
export const durableTables = {
  meshes,
  clusters,
  join_tokens: joinTokens,
  operator_keys: operatorKeys,
  authorities,
  certificates,
  service_exports: serviceExports,
  reported_facts: reportedFacts,
  export_ages: exportAges,
  rotations,
  bundle_links: bundleLinks,
  revocations,
  issuances,
  trust_heads: trustHeads,
  foreign_domains: foreignDomains,
  traffic_policies: trafficPolicies,
  sameness_groups: samenessGroups,
  policy_history: policyHistory,
  member_objects: memberObjects,
  member_object_history: memberObjectHistory,
  drains,
  mesh_marks: meshMarks,
  audit,
} as const
export type DurableName = keyof typeof durableTables
type DurableTable = (typeof durableTables)[DurableName]

/** One change of a row, by column property: the whole row, or only its key when it was deleted. */
export type DurableChange = { readonly table: DurableName; readonly put?: Row; readonly drop?: Row }
export type Row = { readonly [column: string]: string | number | boolean | null }

/** What one transaction said and what it did. */
export type Ledger = { readonly changes: DurableChange[]; readonly named: Set<string>; readonly written: Set<string> }

const ledgers = new WeakMap<object, Ledger>()

export function keepLedger(tx: object): Ledger {
  const ledger: Ledger = { changes: [], named: new Set(), written: new Set() }
  ledgers.set(tx, ledger)
  return ledger
}

/** Says that `row` now stands in `table` as given here (whole, as `returning()` gives it). */
export function durable<T extends DurableTable>(tx: object, table: T, row: T['$inferSelect']): void {
  note(tx, table, { put: columnsOf(row) })
}

/** Says that the row with the key of `row` is deleted. */
export function durableDelete<T extends DurableTable>(tx: object, table: T, row: Partial<T['$inferSelect']>): void {
  const key = columnsOf(row)
  note(tx, table, { drop: Object.fromEntries(keyOf(table).map((column) => [column, key[column] ?? null])) })
}

/** Says that what was written to `table` may be lost in a power cut (a time of last sight). */
export function ephemeral(tx: object, table: DurableTable): void {
  ledgerOf(tx).named.add(nameOf(table))
}

/** Watches a statement for a write to a durable table. */
export function noteStatement(ledger: Ledger, text: string): void {
  const table = /^\s*(?:insert\s+into|update|delete\s+from)\s+"?(\w+)"?/i.exec(text)?.[1]
  if (table !== undefined && Object.hasOwn(durableTables, table)) ledger.written.add(table)
}

/** Throws `internal` when the transaction wrote to a durable table and never said what. */
export function checkLedger(ledger: Ledger): void {
  const forgotten = [...ledger.written].filter((table) => !ledger.named.has(table))
  if (forgotten.length > 0)
    throw new Problem(
      'internal',
      `a transaction wrote to ${forgotten.join(', ')} without durable(): it was rolled back`,
    )
}

/** The columns of the primary key, by property. */
export function keyOf(table: DurableTable): string[] {
  const columns = Object.entries(getTableColumns(table as AnyPgTable))
  const single = columns.filter(([, column]) => column.primary).map(([property]) => property)
  if (single.length > 0) return single
  const names = new Set(getTableConfig(table as AnyPgTable).primaryKeys[0]?.columns.map((column) => column.name))
  return columns.filter(([, column]) => names.has(column.name)).map(([property]) => property)
}

function note(tx: object, table: DurableTable, change: Omit<DurableChange, 'table'>): void {
  const ledger = ledgerOf(tx)
  ledger.named.add(nameOf(table))
  ledger.changes.push({ table: nameOf(table), ...change })
}

function ledgerOf(tx: object): Ledger {
  const ledger = ledgers.get(tx)
  if (!ledger) throw new Problem('internal', 'durable() was called outside of its transaction')
  return ledger
}

const nameOf = (table: DurableTable): DurableName => getTableConfig(table as AnyPgTable).name as DurableName

const columnsOf = (row: object): Row => ({ ...row }) as Row
