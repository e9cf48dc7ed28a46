import { compile } from '#mesh/compile/compile.ts'
import type { Demand } from '#mesh/foresee/demand.ts'
import { parseLost } from '#mesh/foresee/parse-lost.ts'
import { rehearse } from '#mesh/foresee/rehearse.ts'
import { policyAt, spent } from '#tests/bench/compile.ts'
import type { Row } from '#tests/bench/report.ts'
import { type FleetShape, fleetOf, sightOf } from '#tests/support/foreseen-fleet.ts'

/** Milliseconds of processor time to foresee the loss of a region, a fifth of the fleet. */
export type RehearsalCost = FleetShape & {
  /** All configs compiled from nothing. */
  readonly compileMs: number
  readonly rehearseMs: number
  /** Pairs of a calling cluster and a service whose calls go elsewhere. */
  readonly moved: number
}

/** Every tenth service has a policy that names that region first; everybody calls everything, and all of it is measured. */
export function measureRehearsal(shape: FleetShape): RehearsalCost {
  const policies = Array.from({ length: Math.ceil(shape.services / 10) }, (_, n) => policyAt(n * 10, 1))
  const fleet = { ...fleetOf(shape), policies }
  const sight = sightOf(fleet, () => 4)
  const demand: Demand = { requestsPerSecond: 10, connections: 1 }
  const keys = new Set(fleet.members.flatMap(({ exports }) => [...exports.keys()]))
  const asked = new Map([...keys].map((key) => [key, demand]))
  const demands = new Map(fleet.members.map(({ name }) => [name, asked]))
  let configs: ReturnType<typeof compile> = new Map()
  const compileMs = spent(() => {
    configs = compile(fleet)
  })
  let moved = 0
  const rehearseMs = spent(() => {
    const lost = parseLost(['region/region-1'], { configs, gateways: sight.gateways })
    moved = rehearse(configs, { sight, demands }, lost).counts.moves
  })
  return { ...shape, compileMs, rehearseMs, moved }
}

export const measureRehearsals = (): readonly RehearsalCost[] =>
  [3, 10].map((exporters) => measureRehearsal({ clusters: 100, services: 300, exporters }))

export const rehearsalRows = (costs: readonly RehearsalCost[]): Row[] =>
  costs.map(({ clusters, services, exporters, compileMs, rehearseMs, moved }) => ({
    what: `loss of a region rehearsed, ${clusters} clusters × ${services} services of ${exporters} exporters: all compiled; what each service would do`,
    seen: `${compileMs.toFixed(0)} ms; ${rehearseMs.toFixed(0)} ms, ${moved} pairs of caller and service move`,
    bar: { text: '≤ 5 s together', reached: compileMs + rehearseMs <= 5000 && moved > 0 },
  }))
