import { expect, test } from 'vitest'
import { factorOf } from '#mesh/translate/endpoints.ts'
import type { Share } from '#mesh/translate/tiers.ts'

const share = (behind: Share['behind'], ...health: readonly Share['hosts'][number]['health'][]): Share => ({
  ...{ cluster: 'b', region: 'r1', zone: '', weight: 1, behind },
  hosts: health.map((one, n) => ({ address: `127.22.0.${n + 2}`, port: 15443, weight: 1, health: one, meshed: true })),
})
const one = share('gateways', 'HEALTHY')
const two = share('gateways', 'HEALTHY', 'HEALTHY')
const three = share('gateways', 'HEALTHY', 'UNKNOWN', 'HEALTHY')
const pods = share('pods', 'HEALTHY', 'HEALTHY')
const lost = share('gateways', 'UNHEALTHY', 'UNHEALTHY', 'UNHEALTHY')

test.each<[what: string, tiers: Share[][], asked: number, factor: number]>([
  ['a cluster with two gateways, another with one', [[two], [one]], 140, 200],
  ['the one with most gateways counts', [[one], [three]], 140, 300],
  ['more was asked for', [[two]], 500, 500],
  ['one gateway each', [[one], [one]], 140, 140],
  ['pods are capacity', [[pods], [two]], 140, 140],
  ['so are the clusters of a tier', [[two, three]], 140, 140],
  ['what comes last, unhealthy, counts for nothing', [[two], [lost, lost]], 140, 200],
  ['nothing', [], 140, 140],
])('a gateway that is left carries all calls, pods only so much: %s', (_, tiers, asked, factor) => {
  expect(factorOf(tiers, asked)).toBe(factor)
})
