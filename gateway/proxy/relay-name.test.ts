import { beforeAll, describe, expect, test } from 'vitest'
import { relayName } from '#gateway/proxy/relay-name.ts'
import { relayServingNames } from '#mesh/trust/names.ts'
import { type Holder, make, makeControlPlaneCa } from '#tests/support/authorities.ts'

const uriOf = (trustDomain: string) => `spiffe://${trustDomain}/ns/isthmus-system/sa/relay`
const ders = new Map<string, Uint8Array>()
beforeAll(async () => {
  const by: Holder = await makeControlPlaneCa()
  for (const domain of [
    'alpha.mesh1',
    'alpha-g2.mesh1',
    'alpha-g3.mesh1',
    'alpha-g2.mesh2',
    'beta-g2.mesh1',
    'alpha-g02.mesh1',
  ]) {
    const names = relayServingNames(domain as never, { asIstiod: false, ips: ['127.0.0.1'] })
    ders.set(domain, (await make({ profile: 'relay-serving', names, by })).certificate.der)
  }
})
const der = (domain: string) => ders.get(domain) ?? new Uint8Array()

describe('a relay is believed', () => {
  test('by its own URI, which does not change', () => {
    const name = relayName(uriOf('alpha.mesh1'), 'alpha')
    expect(name.fault(der('alpha.mesh1'))).toBeUndefined()
    expect([name.uri(), name.trustDomain()]).toEqual([uriOf('alpha.mesh1'), 'alpha.mesh1'])
  })

  test('in its cluster’s next generation, and from then on not in the one before', () => {
    const name = relayName(uriOf('alpha.mesh1'), 'alpha')
    expect(name.fault(der('alpha-g2.mesh1'))).toBeUndefined()
    expect(name.trustDomain()).toBe('alpha-g2.mesh1')
    expect(name.fault(der('alpha.mesh1'))?.message).toContain(`expected is ${uriOf('alpha-g2.mesh1')}`)
    expect(name.fault(der('alpha-g3.mesh1'))).toBeUndefined()
  })
})

test.each(['beta-g2.mesh1', 'alpha-g2.mesh2', 'alpha-g02.mesh1'])('%s is no generation of alpha.mesh1', (domain) => {
  const name = relayName(uriOf('alpha.mesh1'), 'alpha')
  expect(name.fault(der(domain))?.kind).toBe('forbidden')
  expect(name.trustDomain()).toBe('alpha.mesh1')
})

test('bytes that are no certificate are nobody', () => {
  expect(relayName(uriOf('alpha.mesh1'), 'alpha').fault(new Uint8Array([1, 2]))?.message).toContain('for no URI')
})
