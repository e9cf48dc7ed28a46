import { expect, test } from 'vitest'
import type { Endpoint } from '#mesh/model/endpoint.ts'
import { parseNetworkName, serviceKey } from '#mesh/model/id.ts'
import { podNamesMax, podNamesOf } from '#mesh/model/pod-name.ts'

const endpoint = (hostname: string | undefined, health: Endpoint['health'] = 'ready'): Endpoint => ({
  address: '127.0.0.1',
  ports: { http: 80 },
  health,
  locality: { region: 'r1', zone: '' },
  network: parseNetworkName('n1'),
  pod: 'shop/pod',
  serviceAccount: 'db',
  meshed: true,
  ...(hostname === undefined ? {} : { hostname }),
})
const db = { key: serviceKey('shop', 'db'), cluster: 'a' }
const namesOf = (...endpoints: Endpoint[]) => podNamesOf(db, endpoints).names.map((n) => `${n.hostname} ${n.ready}`)

test('pods with a hostname are named, ready or not; two of one hostname are one name', () => {
  expect(
    namesOf(endpoint('db-1', 'not-ready'), endpoint('db-0'), endpoint(undefined), endpoint('db-1', 'draining')),
  ).toEqual(['db-0 true', 'db-1 false'])
  expect(namesOf(endpoint('db-1', 'not-ready'), endpoint('db-1'))).toEqual(['db-1 true'])
})

test('of many the first by number, whatever the order, and the others are told', () => {
  const many = Array.from({ length: podNamesMax + 20 }, (_, n) => endpoint(`db-${n}`))
  const { names, left } = podNamesOf(db, many)
  expect(names.map((n) => n.hostname)).toEqual(Array.from({ length: podNamesMax }, (_, n) => `db-${n}`))
  expect(left).toHaveLength(20)
  expect(podNamesOf(db, many.toReversed())).toEqual({ names, left })
})

test('what is no DNS label is no name; what does not fit into an SNI is left and told', () => {
  expect(podNamesOf(db, [endpoint('Db-0'), endpoint('db.0'), endpoint('-')])).toEqual({ names: [], left: [] })
  const long = { key: serviceKey('n'.repeat(63), 's'.repeat(63)), cluster: 'c'.repeat(63) }
  const all = [endpoint('h'.repeat(24)), endpoint('h'.repeat(23))]
  const { names, left } = podNamesOf(long, all)
  expect(names.map((n) => n.hostname.length)).toEqual([23])
  expect(left).toEqual(['h'.repeat(24)])
})
