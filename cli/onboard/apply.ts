import { refusal } from '#cli/failure.ts'
import { isApplied } from '#cli/onboard/applied.ts'
import type { ClusterApi, Json } from '#cli/onboard/cluster-api.ts'
import { fieldManager, type KubeObject, managedByLabel, objectText } from '#cli/onboard/manifests/object.ts'
import { objectPath } from '#cli/onboard/object-path.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'

/** `theirs`: somebody else made it, and it does for us. */
export type Planned = { readonly object: KubeObject; readonly state: 'create' | 'change' | 'same' | 'theirs' }

const together = 8

/**
 * What applying the objects would do to each, in their order; nothing is written. An object is asked for anew only where
 * it differs. Throws `conflict` with every field that belongs to somebody else, and `invalid` where a kind that others
 * have defined is not served as we need it.
 */
export async function planApply(api: ClusterApi, objects: readonly KubeObject[]): Promise<readonly Planned[]> {
  const conflicts: Violation[] = []
  const planned: Planned[] = []
  for (let at = 0; at < objects.length; at += together) {
    const some = objects
      .slice(at, at + together)
      .map(async (object) => ({ object, state: await stateOf(api, object, conflicts) }))
    planned.push(...(await Promise.all(some)))
  }
  if (conflicts.length === 0) return planned
  const fields = conflicts.map(({ path, reason }) => `${path} (${reason})`).join('; ')
  throw new Problem(
    'conflict',
    `${conflicts.length === 1 ? 'a field belongs' : 'fields belong'} to somebody else: ${fields}`,
    {
      violations: conflicts,
      extra: {
        on: api.said,
        mend: 'have their owner set them as isthmus manifests prints them, or leave them out; then repeat the command',
      },
    },
  )
}

async function stateOf(api: ClusterApi, object: KubeObject, conflicts: Violation[]): Promise<Planned['state']> {
  const live = await api.find(objectPath(object))
  if (!live) return 'create'
  if (isTheirs(object, live)) return 'theirs'
  if (isApplied(object, live)) return 'same'
  try {
    const next = (await sendApply(api, object, true)) as Json
    return isUnchanged(live, next) ? 'same' : 'change'
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'conflict' || error.violations.length === 0) throw error
    conflicts.push(...error.violations.map(({ path, reason }) => ({ path: `${objectText(object)} ${path}`, reason })))
    return 'change'
  }
}

/** Kinds and namespaces are shared: one that somebody else has made stays theirs. */
function isTheirs(object: KubeObject, live: Json): boolean {
  if (object.kind !== 'Namespace' && object.kind !== 'CustomResourceDefinition') return false
  const { labels = {} } = (live['metadata'] ?? {}) as { labels?: Readonly<Record<string, string>> }
  if (labels[managedByLabel] === 'isthmus') return false
  if (object.kind === 'CustomResourceDefinition') checkServed(object, live)
  return true
}

type Definition = {
  readonly spec?: { readonly versions?: readonly { readonly name: string; readonly served: boolean }[] }
}

const servedIn = (object: unknown): string[] =>
  ((object as Definition).spec?.versions ?? []).flatMap(({ name, served }) => (served ? [name] : []))

/** One of our versions is enough: the relay reads the one that is served. */
function checkServed(object: KubeObject, live: Json): void {
  const [wanted, served] = [servedIn(object), servedIn(live)]
  if (wanted.some((version) => served.includes(version))) return
  throw refusal({
    kind: 'conflict',
    why: `somebody else has defined it, with ${served.join(', ') || 'no version'} only; one of ${wanted.join(', ')} is needed`,
    on: objectText(object),
    mend: 'update what installed it, or remove it where nothing uses it; then repeat the command',
  })
}

/** The same but for what every write moves. */
function isUnchanged(before: Json, after: Json): boolean {
  const plain = (object: Json): string => {
    const { managedFields: _, resourceVersion: __, generation: ___, ...metadata } = (object['metadata'] ?? {}) as Json
    return JSON.stringify({ ...object, metadata: sorted(metadata) })
  }
  return plain(sorted(before) as Json) === plain(sorted(after) as Json)
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, sorted(one)]),
  )
}

/** Writes what differs, one after another in its order. Gives how many were written. */
export async function applyPlanned(api: ClusterApi, planned: readonly Planned[]): Promise<number> {
  const due = planned.filter(({ state }) => state === 'create' || state === 'change')
  for (const { object } of due) await sendApply(api, object, false)
  return due.length
}

/** A server-side apply that takes no field from anybody. */
export const sendApply = (api: ClusterApi, object: KubeObject, isDryRun: boolean): Promise<unknown> =>
  api.call('PATCH', objectPath(object), {
    query: { fieldManager, force: false, ...(isDryRun ? { dryRun: 'All' } : {}) },
    body: object,
    contentType: 'application/apply-patch+yaml',
  })
