import fc from 'fast-check'
import { name, names } from '#mesh/compile/testdata/fleet.ts'
import type { SamenessGroup, TierTarget, TrafficPolicy } from '#mesh/model/traffic-policy.ts'

/** Clusters and services of `anyFleet`, and a name that is in no fleet. */
const clusters = names('qalpha', 'qbravo', 'qcharly', 'qdelta', 'qecho', 'qnobody')
const services = ['zsvcone', 'zsvctwo', 'zsvcthree']

const anyTarget: fc.Arbitrary<TierTarget> = fc
  .record({
    who: fc.oneof(
      fc.constantFrom(...clusters).map((cluster) => ({ cluster })),
      fc.constantFrom('r1', 'r2', 'r9').map((region) => ({ region })),
      fc.constantFrom('prod', 'test').map((group) => ({ group })),
    ),
    weight: fc.option(fc.integer({ min: 1, max: 1000 }), { nil: undefined }),
    capacity: fc.option(fc.constant({ requestsPerSecond: 100 }), { nil: undefined }),
  })
  .map(({ who, weight, capacity }) => ({
    ...who,
    ...(weight === undefined ? {} : { weight }),
    ...(capacity === undefined ? {} : { capacity }),
  }))

/** Tiers as a file may hold them: what names nobody, or one cluster twice, is among them. */
export const anyTiers = fc.array(
  fc
    .record({
      targets: fc.array(anyTarget, { minLength: 1, maxLength: 4 }),
      prefer: fc.constantFrom('none' as const, 'own' as const, 'region' as const, undefined),
    })
    .map(({ targets, prefer }) => ({ targets, ...(prefer ? { prefer } : {}) })),
  { minLength: 1, maxLength: 4 },
)

/** Policies for the services of `anyFleet`, of every specificity and origin. */
export const anyPolicy: fc.Arbitrary<TrafficPolicy> = fc
  .record({
    name: fc.constantFrom('one', 'two', 'three'),
    revision: fc.integer({ min: 1, max: 3 }),
    origin: fc.constantFrom('api' as const, 'api' as const, name('qalpha')),
    services: fc.constantFrom({ names: services.slice(0, 1) }, { names: services }, { namespace: 'shop' }, {}),
    tiers: fc.option(anyTiers, { nil: undefined }),
    unlisted: fc.constantFrom('last' as const, 'never' as const, undefined),
    keepUntilPercent: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
  })
  .map(({ name: called, revision, origin, services: selected, tiers, unlisted, keepUntilPercent }) => ({
    ...{ namespace: 'shop', name: called, revision, origin },
    spec: {
      services: selected,
      ...(tiers ? { tiers } : {}),
      ...(unlisted ? { unlisted } : {}),
      ...(keepUntilPercent === undefined ? {} : { keepUntilPercent }),
    },
  }))

/** At most one of each name and origin. */
export const anyPolicies: fc.Arbitrary<readonly TrafficPolicy[]> = fc.uniqueArray(anyPolicy, {
  selector: (policy) => `${policy.origin} ${policy.name}`,
  maxLength: 4,
})

export const anyGroups: fc.Arbitrary<readonly SamenessGroup[]> = fc
  .tuple(fc.subarray(clusters), fc.option(fc.subarray(clusters), { nil: undefined }))
  .map(([prod, test]) => [
    { name: 'prod', clusters: prod, revision: 1 },
    ...(test ? [{ name: 'test', clusters: test, revision: 1 }] : []),
  ])
