import fc from 'fast-check'

/** A change of one object; without `spec` it goes. */
export type Changed = (
  | { readonly kind: 'GlobalTrafficPolicy'; readonly namespace: string; readonly name: string }
  | { readonly kind: 'SamenessGroup'; readonly name: string }
) & { readonly spec?: Readonly<Record<string, unknown>> }

/** What random policies may name. */
export type Names = {
  readonly clusters: readonly string[]
  readonly regions: readonly string[]
  readonly groups: readonly string[]
  /** All in namespace `shop`; a policy of its own each. */
  readonly services: readonly string[]
}

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })

/** Without what is undefined: a policy knows no such value. */
const said = (value: object): Readonly<Record<string, unknown>> =>
  JSON.parse(JSON.stringify(value)) as Readonly<Record<string, unknown>>

/**
 * Changes of policies and groups, each object at most once: policies for one service each, for labels, for a namespace
 * and for the mesh, so that they lie over each other in every way and none ties. Most of them are valid.
 */
export function randomWishes(names: Names, most: number): fc.Arbitrary<readonly Changed[]> {
  const selectors = [
    ...names.services.map((name) => ({ name, services: { names: [name] } })),
    { name: 'labelled', services: { labels: { tier: 'front' } } },
    { name: 'namespace', services: { namespace: 'shop' } },
    { name: 'mesh', services: {} },
  ]
  const policy = fc.constantFrom(...selectors).chain(({ name, services }) =>
    fc.option(specs(names), { freq: 6, nil: undefined }).map(
      (spec): Changed => ({
        ...{ kind: 'GlobalTrafficPolicy', namespace: 'shop', name },
        ...(spec === undefined ? {} : { spec: said({ ...spec, services }) }),
      }),
    ),
  )
  const group = fc
    .tuple(fc.constantFrom(...names.groups), fc.subarray([...names.clusters], { minLength: 1 }))
    .map(([name, clusters]): Changed => ({ kind: 'SamenessGroup', name, spec: { clusters } }))
  return fc.uniqueArray(fc.oneof({ weight: 8, arbitrary: policy }, { weight: 1, arbitrary: group }), {
    ...{ minLength: Math.ceil(most / 2), maxLength: most },
    selector: ({ kind, name }) => `${kind} ${name}`,
  })
}

function specs({ clusters, regions, groups }: Names) {
  const targets = [
    ...clusters.map((cluster) => ({ cluster })),
    ...regions.map((region) => ({ region })),
    ...groups.map((group) => ({ group })),
  ]
  const weight = fc.integer({ min: 1, max: 1000 })
  const more = fc.record({
    weight: maybe(weight),
    capacity: maybe(fc.record({ requestsPerSecond: fc.integer({ min: 1, max: 1000 }) })),
  })
  const tiers = fc
    .tuple(fc.shuffledSubarray(targets, { minLength: 2, maxLength: 5 }), fc.array(more, { minLength: 5, maxLength: 5 }))
    .chain(([chosen, extras]) =>
      fc
        .tuple(fc.integer({ min: 1, max: chosen.length }), maybe(fc.constantFrom('none', 'own', 'region')))
        .map(([first, prefer]) => {
          const all = chosen.map((target, at) => ({ ...target, ...extras[at] }))
          const rest = all.slice(first)
          return [{ targets: all.slice(0, first), prefer }, ...(rest.length > 0 ? [{ targets: rest }] : [])]
        }),
    )
  return fc.record({
    tiers: maybe(tiers),
    unlisted: fc.constantFrom('last', 'last', 'last', 'never', undefined),
    keepUntilPercent: maybe(fc.integer({ min: 1, max: 100 })),
    retries: maybe(fc.record({ attempts: fc.integer({ min: 0, max: 10 }), idempotent: maybe(fc.boolean()) })),
    timeouts: maybe(fc.record({ connectSeconds: fc.constantFrom(0.2, 1, 5), requestSeconds: maybe(weight) })),
    ejection: maybe(fc.record({ afterFailures: maybe(weight), baseSeconds: maybe(fc.constantFrom(1, 30)) })),
    probe: maybe(
      fc.constantFrom({ kind: 'tcp' }, { kind: 'http', path: '/healthz' }, { kind: 'http', everySeconds: 10 }),
    ),
    onExporterLost: maybe(fc.constantFrom('keep', 'demote', 'drop')),
    failback: maybe(fc.record({ holdSeconds: maybe(fc.integer({ min: 0, max: 600 })) })),
  })
}
