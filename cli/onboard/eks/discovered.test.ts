import { describe, expect, test } from 'vitest'
import { discoveredOf, type MemberFact, meshName, type SeenCluster } from '#cli/onboard/eks/discovered.ts'

const seen = (name: string, more: Partial<SeenCluster> = {}): SeenCluster => ({
  ...{ name, region: 'eu-west-1', status: 'ACTIVE', vpc: 'vpc-1', cidrs: ['10.0.0.0/16'], unknown: [] },
  ...more,
})
const member = (name: string, more: Partial<MemberFact> = {}): MemberFact => ({
  ...{ name, state: 'joined', region: 'eu-west-1', network: 'vpc-1' },
  ...more,
})

describe('a name in the mesh', () => {
  test.each([
    ['prod', 'prod'],
    ['Prod_EU.1', 'prod-eu-1'],
    ['-x-', 'x'],
    ['___', 'cluster-1'],
    ['a'.repeat(100), 'a'.repeat(57)],
    ['paris-g2', 'paris-g2-eks'],
  ])('%s is %s', (name, expected) => expect(meshName(name)).toBe(expected))
})

describe('a member', () => {
  test.each([
    ['by name, region and VPC', member('prod'), 'joined', 'prod'],
    ['whose place nobody said', member('prod', { region: '', network: '' }), 'joined', 'prod'],
    ['in a network with a name of its own', member('prod', { network: 'office' }), 'joined', 'prod'],
    ['in another region: another cluster', member('prod', { region: 'us-east-1' }), 'no', 'prod-eu-west-1'],
    ['in another VPC: another cluster', member('prod', { network: 'vpc-2' }), 'no', 'prod-eu-west-1'],
    ['that joined with its region in its name', member('prod-eu-west-1'), 'joined', 'prod-eu-west-1'],
    ['that left', member('prod', { state: 'left' }), 'left', 'prod'],
    ['nowhere', member('other'), 'no', 'prod'],
  ])('%s', (_, known, state, cluster) => {
    expect(discoveredOf([seen('prod')], [known])).toMatchObject([{ member: state, cluster }])
  })

  test('needs no way in; who is none, expected or left, has one; who is not up yet has none', () => {
    const joins = (state: string, more = {}) =>
      discoveredOf([seen('prod', more)], [member('prod', { state })])[0]?.join !== undefined
    expect(['joined', 'expected', 'left', 'revoked'].map((state) => joins(state))).toEqual([false, true, true, true])
    expect(joins('expected', { status: 'CREATING' })).toBe(false)
  })

  test('is not known where the centre did not say: nobody is told to join', () => {
    expect(discoveredOf([seen('prod')], undefined)).toMatchObject([{ member: 'unknown' }])
    expect(discoveredOf([seen('prod')], undefined)[0]).not.toHaveProperty('join')
  })
})

describe('addresses', () => {
  test('overlap with those of members and of others in another VPC, and never within one VPC', () => {
    const found = discoveredOf(
      [
        seen('prod'),
        seen('twin'),
        seen('far', { vpc: 'vpc-2', cidrs: ['10.0.200.0/24', '10.9.0.0/16'] }),
        seen('away', { vpc: 'vpc-3', cidrs: ['10.8.0.0/16'] }),
      ],
      [member('prod')],
    )
    expect(found.map(({ overlaps }) => overlaps)).toEqual([
      [{ cluster: 'far/eu-west-1', cidr: '10.0.0.0/16', with: '10.0.200.0/24', member: false }],
      [{ cluster: 'far/eu-west-1', cidr: '10.0.0.0/16', with: '10.0.200.0/24', member: false }],
      [
        { cluster: 'prod', cidr: '10.0.200.0/24', with: '10.0.0.0/16', member: true },
        { cluster: 'twin/eu-west-1', cidr: '10.0.200.0/24', with: '10.0.0.0/16', member: false },
      ],
      [],
    ])
  })
})
