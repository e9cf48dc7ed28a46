import { bigint, index, integer, pgTable, primaryKey, text, uniqueIndex, varchar } from 'drizzle-orm/pg-core'
import type { DrainKind, DrainState } from '#mesh/model/drain.ts'

/** The operators' policies for calls between clusters. */
export const trafficPolicies = pgTable(
  'traffic_policies',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    namespace: varchar('namespace', { length: 63 }).notNull(),
    name: varchar('name', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    /** Canonical JSON of the spec. */
    spec: text('spec').notNull(),
    revision: bigint('revision', { mode: 'number' }).notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    updatedAt: bigint('updated_at', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'traffic_policies_key', columns: [t.mesh, t.namespace, t.name] })],
)
export type TrafficPolicyRow = typeof trafficPolicies.$inferSelect

/** Clusters that go by one name in policies and lists of consumers. */
export const samenessGroups = pgTable(
  'sameness_groups',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    name: varchar('name', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    /** Canonical JSON: sorted cluster names. */
    clusters: text('clusters').notNull(),
    revision: bigint('revision', { mode: 'number' }).notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    updatedAt: bigint('updated_at', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'sameness_groups_key', columns: [t.mesh, t.name] })],
)
export type SamenessGroupRow = typeof samenessGroups.$inferSelect

/** Every state that policies and groups were ever in, in the order of their writing. Pruned with `compiled`. */
export const policyHistory = pgTable(
  'policy_history',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    /** `gtp/<ns>/<name>` or `group/<name>`. */
    object: varchar('object', { length: 200 }).notNull(),
    revision: bigint('revision', { mode: 'number' }).notNull(),
    /** Canonical JSON, as in its own table; empty = it was deleted. */
    spec: text('spec').notNull(),
    by: varchar('by', { length: 200 }).notNull(),
    reason: text('reason').notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'policy_history_key', columns: [t.mesh, t.seq] }),
    index('policy_history_object').on(t.mesh, t.object, t.seq),
  ],
)
export type PolicyHistoryRow = typeof policyHistory.$inferSelect

/**
 * Policies and groups among the objects of members, by the name that the history has for them within their cluster:
 * `gtp/<ns>/<name>` or `group/<name>`. One row for each that its cluster says is there, in force or not.
 */
export const memberObjects = pgTable(
  'member_objects',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    cluster: varchar('cluster', { length: 63 }).notNull(),
    object: varchar('object', { length: 200 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    /** Canonical JSON of the last that was accepted, which stays until the next is; empty = none ever was. */
    spec: text('spec').notNull(),
    /** How far that reaches: `own` callers, or the `mesh` where its cluster is a policy source. */
    reach: varchar('reach', { length: 8 }).$type<'own' | 'mesh'>().notNull(),
    /** Of the last that was accepted; 0 = none ever was. */
    revision: bigint('revision', { mode: 'number' }).notNull(),
    /** Hash of what the cluster says, as it was looked at last. */
    said: varchar('said', { length: 64 }).notNull(),
    /** What that was when it was accepted last. */
    accepted: varchar('accepted', { length: 64 }).notNull(),
    /** Canonical JSON: why that is not in force, or reaches less far than it might; empty list = it is. */
    reasons: text('reasons').notNull(),
    /** Since when it reaches that far: of two policy sources the older object stands. */
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
    /** When the last that was accepted was. */
    updatedAt: bigint('updated_at', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'member_objects_key', columns: [t.mesh, t.cluster, t.object] })],
)
export type MemberObjectRow = typeof memberObjects.$inferSelect

/**
 * The states that these were in. Apart from the history of what operators write: no member moves the number by which plans
 * and rollbacks go. As many of a cluster are kept as it may have objects, some times over.
 */
export const memberObjectHistory = pgTable(
  'member_object_history',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    cluster: varchar('cluster', { length: 63 }).notNull(),
    object: varchar('object', { length: 200 }).notNull(),
    revision: bigint('revision', { mode: 'number' }).notNull(),
    /** Canonical JSON; empty = it is gone. */
    spec: text('spec').notNull(),
    reason: text('reason').notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'member_object_history_key', columns: [t.mesh, t.cluster, t.object, t.revision] }),
    index('member_object_history_at').on(t.mesh, t.at),
    index('member_object_history_cluster').on(t.mesh, t.cluster, t.at),
  ],
)
export type MemberObjectHistoryRow = typeof memberObjectHistory.$inferSelect

/** What is led out of traffic: `slot` is `open:<kind>:<subject>` while it is, so that two never lead one thing. */
export const drains = pgTable(
  'drains',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    id: varchar('id', { length: 36 }).notNull(),
    kind: varchar('kind', { length: 16 }).$type<DrainKind>().notNull(),
    /** As `drainSubjectText` says it. */
    subject: varchar('subject', { length: 400 }).notNull(),
    slot: varchar('slot', { length: 450 }).notNull(),
    state: varchar('state', { length: 16 }).$type<DrainState>().notNull(),
    percent: integer('percent').notNull(),
    overMs: bigint('over_ms', { mode: 'number' }).notNull(),
    graceMs: bigint('grace_ms', { mode: 'number' }).notNull(),
    startedAt: bigint('started_at', { mode: 'number' }).notNull(),
    stepAt: bigint('step_at', { mode: 'number' }).notNull(),
    by: varchar('by', { length: 200 }).notNull(),
    reason: text('reason').notNull(),
    /** Why it stands where it stands. */
    why: text('why').notNull(),
    /** Canonical JSON: the numbers that proved it empty; empty until then. */
    proof: text('proof').notNull(),
    /** Canonical JSON: errors before it began. */
    baseline: text('baseline').notNull(),
    revision: bigint('revision', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'drains_key', columns: [t.mesh, t.id] }), uniqueIndex('drains_slot').on(t.mesh, t.slot)],
)
export type DrainRow = typeof drains.$inferSelect

/**
 * Single facts of a mesh: `freeze` while no health moves traffic, `policy-sources`, the clusters whose policies count for
 * all, and `policies`, the last number of the policy history.
 * Every writer of a policy locks that row first: the order of policies is the order of its numbers.
 */
export const meshMarks = pgTable(
  'mesh_marks',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    name: varchar('name', { length: 16 }).$type<'freeze' | 'policies' | 'lost' | 'policy-sources'>().notNull(),
    value: text('value').notNull(),
    by: varchar('by', { length: 200 }).notNull(),
    reason: text('reason').notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
    revision: bigint('revision', { mode: 'number' }).notNull(),
  },
  (t) => [primaryKey({ name: 'mesh_marks_key', columns: [t.mesh, t.name] })],
)
export type MeshMarkRow = typeof meshMarks.$inferSelect

/** What each cluster's callers last measured. Not durable: it is said again. */
export const loads = pgTable(
  'loads',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    cluster: varchar('cluster', { length: 63 }).notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
    /** Canonical JSON of the report. */
    body: text('body').notNull(),
  },
  (t) => [primaryKey({ name: 'loads_key', columns: [t.mesh, t.cluster] })],
)
export type LoadRow = typeof loads.$inferSelect

/** Shifts that a relay told and that are in the audit log: each is told once. Pruned by age. */
export const shiftEvents = pgTable(
  'shift_events',
  {
    mesh: varchar('mesh', { length: 63 }).notNull(),
    cluster: varchar('cluster', { length: 63 }).notNull(),
    epoch: varchar('epoch', { length: 64 }).notNull(),
    seq: bigint('seq', { mode: 'number' }).notNull(),
    at: bigint('at', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'shift_events_key', columns: [t.mesh, t.cluster, t.epoch, t.seq] }),
    index('shift_events_at').on(t.mesh, t.at),
  ],
)
export type ShiftEventRow = typeof shiftEvents.$inferSelect
