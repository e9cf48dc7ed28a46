import { z } from 'zod'
import { type ClusterName, labelFault } from '#mesh/model/id.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import type { SamenessGroup, TrafficPolicy, TrafficPolicySpec } from '#mesh/model/traffic-policy.ts'

/** Bounds of one policy and one group. */
export const policyLimits = { tiers: 16, targets: 64, names: 100, labels: 16, clusters: 1000 } as const

const name = z.string().superRefine((text, context) => {
  const fault = labelFault(text)
  if (fault) context.addIssue({ code: 'custom', message: `"${text.slice(0, 80)}" ${fault}` })
})
const cluster = name.transform((text) => text as ClusterName)
const region = z.string().min(1).max(63)
const whole = (min: number, max: number) => z.number().int().min(min).max(max)
const seconds = (min: number, max: number) => z.number().min(min).max(max)

const capacity = z
  .strictObject({
    requestsPerSecond: z.number().positive().max(1e9).exactOptional(),
    connections: whole(1, 1e9).exactOptional(),
  })
  .refine((said) => Object.keys(said).length > 0, { error: 'say requestsPerSecond, connections or both' })

const targetPart = { weight: whole(1, 1000).exactOptional(), capacity: capacity.exactOptional() }
const target = z
  .strictObject({
    cluster: cluster.exactOptional(),
    region: region.exactOptional(),
    group: name.exactOptional(),
    ...targetPart,
  })
  .transform((said, context) => {
    const { cluster: one, region: near, group, ...rest } = said
    const said1 = [one, near, group].filter((text) => text !== undefined)
    if (said1.length !== 1) {
      context.addIssue({ code: 'custom', message: 'say exactly one of cluster, region and group' })
      return z.NEVER
    }
    if (one !== undefined) return { cluster: one, ...rest }
    return near !== undefined ? { region: near, ...rest } : { group: group ?? '', ...rest }
  })

const tier = z.strictObject({
  name: z.string().min(1).max(63).exactOptional(),
  targets: z.array(target).min(1, 'a tier without targets names nobody').max(policyLimits.targets),
  prefer: z.enum(['none', 'own', 'region']).exactOptional(),
})

/** Source: Kubernetes, "Labels and selectors", syntax and character set. */
const labelPart = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/
const labelPrefix = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/

/** Why no Service can carry such a label, so that a selector would be for nobody. */
function labelFaultOf(key: string, value: unknown): string | undefined {
  const [name = '', prefix, ...more] = key.split('/').reverse()
  const isName = more.length === 0 && labelPart.test(name) && (prefix === undefined || labelPrefix.test(prefix))
  if (!isName) return 'is not the name of a label: [<DNS name>/]<at most 63 of a-z, A-Z, 0-9, -, _ and .>'
  const isValue = typeof value === 'string' && (value === '' || labelPart.test(value))
  return isValue ? undefined : 'is not the value of a label: at most 63 of a-z, A-Z, 0-9, -, _ and .'
}

const selectorFields = {
  namespace: name.exactOptional(),
  names: z.array(name).min(1).max(policyLimits.names).exactOptional(),
  // Names before all else: a record passes over `__proto__` without a word, and a selector that loses a label is wider.
  labels: z
    .unknown()
    .superRefine((labels, context) => {
      for (const [key, value] of typeof labels === 'object' && labels ? Object.entries(labels) : []) {
        const message = labelFaultOf(key, value)
        if (message) context.addIssue({ code: 'custom', path: [key.slice(0, 80)], message })
      }
    })
    .pipe(z.record(z.string(), z.string()))
    .refine((labels) => Object.keys(labels).length > 0, { error: 'an empty selector: leave labels out for all' })
    .refine((labels) => Object.keys(labels).length <= policyLimits.labels, {
      error: `more than ${policyLimits.labels} labels`,
    })
    .exactOptional(),
}

const whichServices = 'say which services it is for: names, labels, a namespace, or {} for all of the mesh'
const selector = z.strictObject(selectorFields, {
  error: ({ input }) => (input === undefined ? whichServices : undefined),
})

/** Source: RFC 9110 §4.1: what may stand in the target of a request, without a fragment. */
const pathPattern = /^\/[!"$-~]{0,1023}$/
const probe = z
  .strictObject({
    kind: z.enum(['http', 'grpc', 'tcp']),
    port: whole(1, 65_535).exactOptional(),
    path: z
      .string()
      .regex(pathPattern, 'is no path: it begins with / and has no space, no # and nothing but ASCII')
      .exactOptional(),
    everySeconds: seconds(1, 300).exactOptional(),
  })
  // Said beside whatever else is wrong, and not only where nothing is.
  .superRefine((said, context) => {
    if (said.kind === 'http' || said.path === undefined) return
    context.addIssue({
      code: 'custom',
      path: ['path'],
      message: `is of http probes only, and this one is ${said.kind}`,
    })
  })

const specSchema = z.strictObject({
  services: selector,
  tiers: z
    .array(tier)
    .min(1, 'no tier at all: leave tiers out for the default order')
    .max(policyLimits.tiers)
    .exactOptional(),
  unlisted: z.enum(['never', 'last']).exactOptional(),
  keepUntilPercent: whole(1, 100).exactOptional(),
  retries: z
    .strictObject({
      attempts: whole(0, 10).exactOptional(),
      idempotent: z.boolean().exactOptional(),
      perTrySeconds: seconds(0.001, 3600).exactOptional(),
    })
    .exactOptional(),
  timeouts: z
    .strictObject({
      connectSeconds: seconds(0.001, 60).exactOptional(),
      requestSeconds: seconds(0.001, 86_400).exactOptional(),
    })
    .exactOptional(),
  ejection: z
    .strictObject({
      afterFailures: whole(1, 1000).exactOptional(),
      baseSeconds: seconds(0.001, 3600).exactOptional(),
      maxSeconds: seconds(0.001, 86_400).exactOptional(),
    })
    .exactOptional(),
  probe: probe.exactOptional(),
  onExporterLost: z.enum(['keep', 'demote', 'drop']).exactOptional(),
  failback: z
    .strictObject({ holdSeconds: seconds(0, 86_400).exactOptional(), rampSeconds: seconds(0, 86_400).exactOptional() })
    .exactOptional(),
  connections: z.strictObject({ maxSeconds: whole(1, 604_800).exactOptional() }).exactOptional(),
})

const groupSchema = z.strictObject({ clusters: z.array(cluster).max(policyLimits.clusters) })

/**
 * The spec of a GlobalTrafficPolicy. Throws `invalid` with every violation, a field that it does not know among them:
 * a setting that is spelled wrong must not be a setting that is silently away.
 */
export const parsePolicySpec = (value: unknown): TrafficPolicySpec => parseSpec('the policy', specSchema, value)

/** The clusters of a SamenessGroup, in order and each once. Throws as `parsePolicySpec` does. */
export const parseGroupSpec = (value: unknown): Pick<SamenessGroup, 'clusters'> => ({
  clusters: [...new Set(parseSpec('the group', groupSchema, value).clusters)].toSorted(),
})

/** The name of a policy or group. Throws `invalid`. */
export function checkObjectName(named: Readonly<Record<string, string>>): void {
  const violations = Object.entries(named).flatMap(([part, text]): Violation[] => {
    const fault = labelFault(text)
    return fault ? [{ path: `metadata.${part}`, reason: fault }] : []
  })
  const [first] = violations
  if (first) throw new Problem('invalid', `${first.path} ${first.reason}`, { violations })
}

/** A stored policy. Throws `invalid` where its spec is not of this version. */
export const parseStoredPolicy = (row: {
  readonly namespace: string
  readonly name: string
  readonly revision: number
  readonly spec: string
}): TrafficPolicy => ({
  ...{ namespace: row.namespace, name: row.name, revision: row.revision, origin: 'api' },
  spec: parsePolicySpec(JSON.parse(row.spec)),
})

const violationsMax = 100

function parseSpec<T>(what: string, schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const found = result.error.issues.flatMap(violationsOf)
  const [first] = found
  const more = found.length > 1 ? ` (and ${found.length - 1} more)` : ''
  const violations = found.slice(0, violationsMax)
  throw new Problem('invalid', `${what} is not valid: ${first?.path}: ${first?.reason}${more}`, { violations })
}

/** A field that is not known is named where it stands. */
function violationsOf(issue: z.core.$ZodIssue): Violation[] {
  if (issue.code !== 'unrecognized_keys') return [{ path: pathOf(issue.path), reason: issue.message }]
  return issue.keys.map((key) => ({ path: pathOf([...issue.path, key]), reason: 'there is no such field' }))
}

const pathOf = (parts: readonly PropertyKey[]): string =>
  parts.reduce<string>(
    (path, part) => (typeof part === 'number' ? `${path}[${part}]` : `${path}.${String(part)}`),
    'spec',
  )
