import { z } from 'zod'
import { canonicalJson, type Json, sha256Hex } from '#mesh/model/canonical.ts'
import type {
  ClusterConfig,
  CompiledPolicy,
  CompiledProbe,
  Condition,
  ExportedService,
  ImportedService,
  Tier,
} from '#mesh/model/cluster-config.ts'
import { hostOf } from '#mesh/model/host.ts'
import { parseClusterName, parseMeshName, parseNetworkName, type ServiceKey, serviceKey } from '#mesh/model/id.ts'
import { changedValues, patchedMap } from '#mesh/model/patched-map.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { bundleLimits } from '#mesh/model/trust-bundle.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { named } from '#mesh/wire/named.ts'
import { servicePortSchema } from '#mesh/wire/report.ts'
import { leaf, rootOfLeaves } from '#mesh/wire/root.ts'

/** The body of one item of stream `cfg/<cluster>`. */
export type ConfigEntry = { readonly [field: string]: Json | undefined }

/**
 * A config as the items of stream `cfg/<cluster>`: `self`, `trust`, `conditions` (only where there are any),
 * `export/<ns>/<svc>`, `import/<ns>/<svc>`. One service is one item, so a change to it travels alone. Keys in order;
 * what a key already says (service, host) is not said again in its body. What is the same object in two configs, or in
 * one of before and one of now, has the same body object; of a config whose one of `before` was asked for as well only
 * what differs is made.
 */
export function entriesOf(config: ClusterConfig, before?: ClusterConfig): ReadonlyMap<string, ConfigEntry> {
  const known = allEntries.get(config)
  if (known) return known
  const old = before && allEntries.get(before)
  const entries = (old && patchedEntries(config, before, old)) ?? wholeEntries(config)
  allEntries.set(config, entries)
  return entries
}

/** The entries of before with those services put in that are others; undefined where more than that differs. */
function patchedEntries(
  config: ClusterConfig,
  before: ClusterConfig,
  old: ReadonlyMap<string, ConfigEntry>,
): ReadonlyMap<string, ConfigEntry> | undefined {
  const { trust, conditions, networkShared, network, region } = before
  const isSame =
    config.trust === trust &&
    config.conditions === conditions &&
    config.networkShared === networkShared &&
    config.network === network &&
    config.region === region &&
    config.mesh === before.mesh &&
    config.cluster === before.cluster &&
    config.imports.size === before.imports.size &&
    config.exports.size === before.exports.size
  if (!isSame) return undefined
  const changes = new Map<string, ConfigEntry>()
  for (const service of changedValues(config.exports, before.exports))
    changes.set(
      `export/${service.key}`,
      bodyOf(service, () => exportBody(service)),
    )
  for (const service of changedValues(config.imports, before.imports))
    changes.set(
      `import/${service.key}`,
      bodyOf(service, () => importBody(service)),
    )
  if ([...changes.keys()].some((key) => !old.has(key))) return undefined
  const entries = patchedMap(old, changes)
  let sum = sumOf(old)
  for (const [key, body] of changes) sum += writtenOf(key, body).leaf - leafOf(key, old)
  sums.set(entries, sum)
  return entries
}

const leafOf = (key: string, entries: ReadonlyMap<string, ConfigEntry>): bigint => {
  const body = entries.get(key)
  return body === undefined ? 0n : writtenOf(key, body).leaf
}

const sums = new WeakMap<ReadonlyMap<string, ConfigEntry>, bigint>()

function sumOf(entries: ReadonlyMap<string, ConfigEntry>): bigint {
  const known = sums.get(entries)
  if (known !== undefined) return known
  let sum = 0n
  for (const [key, body] of entries) sum += writtenOf(key, body).leaf
  sums.set(entries, sum)
  return sum
}

function wholeEntries(config: ClusterConfig): ReadonlyMap<string, ConfigEntry> {
  const { mesh, cluster, network, region, networkShared, trust, conditions } = config
  const entries = new Map<string, ConfigEntry>([
    ['self', { mesh, cluster, network, region, networkShared }],
    ['trust', bodyOf(trust, () => ({ ...trust }))],
  ])
  if (conditions.length > 0) entries.set('conditions', { conditions: conditions.map(conditionBody) })
  for (const [key, service] of inOrder(config.exports))
    entries.set(
      `export/${key}`,
      bodyOf(service, () => exportBody(service)),
    )
  for (const [key, service] of inOrder(config.imports))
    entries.set(
      `import/${key}`,
      bodyOf(service, () => importBody(service)),
    )
  return entries
}

const allEntries = new WeakMap<ClusterConfig, ReadonlyMap<string, ConfigEntry>>()
const bodies = new WeakMap<object, ConfigEntry>()

function bodyOf(part: object, make: () => ConfigEntry): ConfigEntry {
  const body = bodies.get(part) ?? make()
  bodies.set(part, body)
  return body
}

/** The root over all entries, whatever their order: equal configs have equal hashes, and one entry costs one hash. */
export const clusterConfigHash = (entries: ReadonlyMap<string, ConfigEntry>): string => rootOfLeaves([sumOf(entries)])

/** An entry as it is stored and delivered. */
export type Written = { readonly key: string; readonly body: string; readonly hash: string; readonly leaf: bigint }

const written = new WeakMap<ConfigEntry, Written>()

/** The text and hashes of an entry; made once for each body object. */
export function writtenOf(key: string, body: ConfigEntry): Written {
  const known = written.get(body)
  if (known?.key === key) return known
  const text = canonicalJson(body)
  const hash = sha256Hex(text)
  const made = { key, body: text, hash, leaf: leaf(key, hash) }
  written.set(body, made)
  return made
}

/**
 * The config that the items of a `cfg` stream say. All or nothing: throws `invalid`, with the violations by item, when
 * one item makes no sense, and the reader keeps the config it had. Only `conditions` carries no traffic: where it makes no
 * sense, one condition says so in place of all. Unknown fields and keys (a newer centre's) are ignored.
 */
export function parseClusterConfig(entries: ReadonlyMap<string, unknown>): ClusterConfig {
  const violations: Violation[] = []
  const self = read(selfSchema, 'self', entries, violations)
  const trust = read(trustSchema, 'trust', entries, violations)
  const conditions = entries.has('conditions') ? readConditions(entries) : []
  const exports = readServices(exportSchema, 'export/', entries, violations)
  const imports = readServices(importSchema, 'import/', entries, violations)
  if (violations.length > 0 || !self || !trust) throw refused(violations)
  return { ...self, trust, conditions, exports, imports }
}

const violationsMax = 20

/** Builds the body with a fixed set of fields: a field added to the model travels only once it is named here. */
const exportBody = ({ ports, consumers, admitted, foreign, cut, closing }: ExportedService): ConfigEntry => ({
  ports,
  consumers,
  admitted,
  ...(foreign === undefined ? {} : { foreign }),
  ...(cut === undefined ? {} : { cut }),
  ...(closing === undefined ? {} : { closing }),
})
/** Cut below what readers accept: a long text is no reason for them to refuse. */
const conditionBody = ({ type, reason, message, object }: Condition) => ({
  type: cut(type),
  reason: cut(reason),
  message: cut(message),
  object: cut(object),
})
const cut = (text: string): string => (text.length <= textMax ? text : `${text.slice(0, textMax - 1)}…`)
const textMax = 1024

const importBody = ({ ports, sources, tiers, settings, ...more }: ImportedService): ConfigEntry => ({
  ports,
  sources,
  tiers: tiers.map(tierBody),
  settings,
  ...(more.policy === undefined ? {} : { policy: policyBody(more.policy) }),
  ...(more.drains === undefined ? {} : { drains: more.drains.map(({ cluster, percent }) => ({ cluster, percent })) }),
  ...said({ cut: more.cut, headless: more.headless, sticky: more.sticky }),
})

const tierBody = ({ members }: Tier) => ({
  members: members.map(({ cluster, weight, capacity }) => ({ cluster, weight, ...said({ capacity }) })),
})

const policyBody = (policy: CompiledPolicy): ConfigEntry => {
  const { name, holdSeconds, rampSeconds, onExporterLost, spillByReadiness, tierOf, idempotent } = policy
  const { perTryMs, requestMs, baseEjectionMs, maxEjectionMs, connectionMaxMs, probe } = policy
  const always = { name, holdSeconds, rampSeconds, onExporterLost, spillByReadiness, tierOf }
  return {
    ...always,
    ...said({ idempotent, perTryMs, requestMs, baseEjectionMs, maxEjectionMs, connectionMaxMs }),
    ...(probe === undefined ? {} : { probe: probeBody(probe) }),
  }
}

const probeBody = ({ kind, port, path, everyMs }: CompiledProbe): ConfigEntry => ({
  ...{ kind, port, everyMs },
  ...said({ path }),
})

/** Without what is absent. */
const said = (fields: ConfigEntry): ConfigEntry =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

/** What was compiled is in order already. */
function inOrder<V>(map: ReadonlyMap<string, V>): Iterable<readonly [string, V]> {
  let before = ''
  for (const key of map.keys()) {
    if (key < before) return [...map].toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    before = key
  }
  return map
}

const cluster = named(parseClusterName)
const network = named(parseNetworkName)
const trustDomain = named(parseTrustDomain)
const region = z.string().max(63)
const ports = z.array(servicePortSchema).max(10_000)

const selfSchema = z
  .object({ mesh: named(parseMeshName), cluster, network, region, networkShared: z.literal(true).optional() })
  .transform(({ networkShared, ...self }) => (networkShared ? { ...self, networkShared } : self))

const trustSchema = z.object({
  trustDomain,
  roots: z.array(z.string().startsWith('-----BEGIN CERTIFICATE-----').max(16_384)).max(64),
  members: z.array(z.object({ cluster, trustDomain })).max(10_000),
  issuingBefore: z.number().int().nonnegative().exactOptional(),
  generation: z.number().int().min(1).exactOptional(),
  shared: z.literal(true).exactOptional(),
  cuts: z
    .array(z.object({ port: z.number().int().min(1).max(65535), cut: z.number().int().min(1) }))
    .max(10_000)
    .exactOptional(),
})

const text = z.string().max(4 * textMax)
const conditionsSchema = z.object({
  conditions: z.array(z.object({ type: text, reason: text, message: text, object: text })).max(1000),
})

const exportSchema = z.object({
  ports,
  consumers: z.array(cluster).max(10_000),
  admitted: z.array(trustDomain).max(10_000),
  foreign: z.array(trustDomain).max(bundleLimits.foreign).exactOptional(),
  cut: z.number().int().min(1).exactOptional(),
  closing: z.literal(true).exactOptional(),
})

const sourceSchema = z
  .object({
    cluster,
    network,
    region,
    trustDomain,
    identities: z.array(z.string().max(2048)).min(1).max(1000),
    ports: z.array(z.number().int()).min(1),
    since: z.number().int().nonnegative().exactOptional(),
    perCluster: z.literal(true).exactOptional(),
  })
  .refine((s) => s.identities.every((id) => id.startsWith(`spiffe://${s.trustDomain}/`)), {
    error: "an identity is outside the source's trust domain",
  })

const tierMemberSchema = z.object({
  cluster,
  weight: z.number().int().min(1).max(1000),
  capacity: z
    .object({
      requestsPerSecond: z.number().positive().max(1e9).exactOptional(),
      connections: z.number().int().min(1).max(1e9).exactOptional(),
    })
    .exactOptional(),
})

const ms = z.number().int().min(1).max(86_400_000)
const probeSchema = z.object({
  kind: z.enum(['http', 'grpc', 'tcp']),
  port: z.number().int().min(1).max(65_535),
  path: z.string().startsWith('/').max(2048).exactOptional(),
  everyMs: z.number().int().min(1000).max(3_600_000),
})
/** Read tolerantly where a newer centre may say more; what carries traffic in any case are tiers and settings. */
const policyFields = z.object({
  name: z.string().max(200),
  holdSeconds: z.number().min(0).max(86_400),
  rampSeconds: z.number().min(0).max(86_400),
  onExporterLost: z.enum(['keep', 'demote', 'drop']),
  idempotent: z.literal(true).exactOptional(),
  perTryMs: ms.exactOptional(),
  requestMs: ms.exactOptional(),
  baseEjectionMs: ms.exactOptional(),
  maxEjectionMs: ms.exactOptional(),
  connectionMaxMs: z.number().int().min(1).max(604_800_000).exactOptional(),
  probe: z.unknown().exactOptional(),
  spillByReadiness: z.literal(true),
  tierOf: z.array(z.number().int().min(0).max(127)).max(128),
})

/** A probe of a kind that only a newer centre knows is not made here, and is no reason to refuse the config. */
const policySchema = policyFields.transform(({ probe, ...policy }) => {
  const { data } = probeSchema.safeParse(probe)
  return data ? { ...policy, probe: data } : policy
})

const importSchema = z
  .object({
    ports,
    sources: z.array(sourceSchema).min(1).max(10_000),
    tiers: z
      .array(z.object({ members: z.array(tierMemberSchema).min(1) }))
      .min(1)
      .max(128),
    settings: z.object({
      overprovisioningFactor: z.number().int().min(100).max(1_000_000),
      ejectAfterFailures: z.number().int().min(1).max(1000),
      retries: z.number().int().min(0).max(100),
      connectTimeoutMs: z.number().int().min(1).max(3_600_000),
    }),
    policy: policySchema.exactOptional(),
    drains: z
      .array(z.object({ cluster, percent: z.number().int().min(0).max(100) }))
      .max(10_000)
      .exactOptional(),
    cut: z.number().int().min(1).exactOptional(),
    headless: z.literal(true).exactOptional(),
    sticky: z.literal(true).exactOptional(),
  })
  .superRefine((service, context) => {
    const sources = new Set(service.sources.map((source) => source.cluster))
    const numbers = new Set(service.ports.map((port) => port.port))
    const say = (message: string): void => void context.addIssue({ code: 'custom', message })
    if (sources.size !== service.sources.length) say('two sources carry one cluster name')
    if (numbers.size !== service.ports.length) say('two ports carry one number')
    for (const source of service.sources)
      if (!source.ports.every((port) => numbers.has(port))) say(`source "${source.cluster}" offers an unknown port`)
    for (const { members } of service.tiers) {
      if (new Set(members.map((m) => m.cluster)).size !== members.length) say('a tier names one cluster twice')
      const stranger = members.find((member) => !sources.has(member.cluster))
      if (stranger) say(`a tier names "${stranger.cluster}", which is not a source`)
    }
  })

function read<T>(
  schema: z.ZodType<T>,
  key: string,
  entries: ReadonlyMap<string, unknown>,
  violations: Violation[],
): T | undefined {
  const result = schema.safeParse(entries.get(key))
  if (result.success) return result.data
  for (const { path, message } of result.error.issues)
    if (violations.length < violationsMax)
      violations.push({ path: [key, ...path].map(String).join('.'), reason: message })
  return undefined
}

function readConditions(entries: ReadonlyMap<string, unknown>): readonly Condition[] {
  const violations: Violation[] = []
  const body = read(conditionsSchema, 'conditions', entries, violations)
  if (body) return body.conditions
  const message =
    `the conditions of this cluster make no sense to its relay (${violations[0]?.path}: ${violations[0]?.reason}): ` +
    'read them at the centre, or upgrade the older of relay and centre'
  return [{ type: 'Unreadable', reason: 'Conditions', message, object: 'cluster' }]
}

function readServices<T>(
  schema: z.ZodType<T>,
  prefix: 'export/' | 'import/',
  entries: ReadonlyMap<string, unknown>,
  violations: Violation[],
): ReadonlyMap<ServiceKey, T & { key: ServiceKey; host: string }> {
  const services = new Map<ServiceKey, T & { key: ServiceKey; host: string }>()
  for (const entryKey of [...entries.keys()].filter((k) => k.startsWith(prefix)).toSorted()) {
    const body = read(schema, entryKey, entries, violations)
    if (body === undefined) continue
    try {
      const [namespace = '', name = ''] = entryKey.slice(prefix.length).split(/\/(.*)/s)
      const key = serviceKey(namespace, name)
      services.set(key, { ...body, key, host: hostOf(key) })
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      if (violations.length < violationsMax) violations.push({ path: entryKey, reason })
    }
  }
  return services
}

function refused(violations: readonly Violation[]): Problem {
  const [first] = violations
  const what = first ? `${first.path}: ${first.reason}` : 'it is incomplete'
  return new Problem(
    'invalid',
    `the delivered cluster config makes no sense (${what}): the config before it stays in force; ` +
      'read it at the centre, or upgrade the older of relay and centre',
    { violations },
  )
}
