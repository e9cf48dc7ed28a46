import { describe, expect, test } from 'vitest'
import { parseMeshName } from '#mesh/model/id.ts'
import { digestOf, signedText } from '#mesh/model/trust-bundle.ts'
import { bundleKeys, parseTrustStream } from '#mesh/wire/bundle.ts'

const pem = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`
const bundle = {
  mesh: 'mesh1',
  seq: 2,
  at: 1000,
  roots: [{ pem: pem('one'), state: 'active' }],
  controlPlane: [{ pem: pem('cp'), state: 'active' }],
  revoked: [{ trustDomain: 'a.mesh1', cluster: 'a', cut: 1, at: 900 }],
  denied: [{ id: 'spiffe://b.mesh1/ns/shop/sa/web', cut: 2 }],
  foreign: [{ trustDomain: 'other.example', roots: [pem('far')] }],
}
const hex = (digit: string) => digit.repeat(64)
const link = (seq: number) => ({
  seq,
  prev: seq === 1 ? '' : hex('a'),
  digest: hex('b'),
  at: 1000,
  signer: hex('c'),
  signature: 'c2lnbmF0dXJl',
})
const items = (more: object = {}): ReadonlyMap<string, unknown> =>
  new Map(
    Object.entries({ bundle, [bundleKeys.link(2)]: link(2), [bundleKeys.link(1)]: link(1), 'root/x': {}, ...more }),
  )

test('what the centre writes is read back, links in order, keys of others ignored', () => {
  expect(parseTrustStream(items())).toEqual({ bundle, links: [link(1), link(2)] })
  expect([bundleKeys.link(9), bundleKeys.link(10)].toSorted()).toEqual([bundleKeys.link(9), bundleKeys.link(10)])
})

test('an older centre says no bundle, and that is no fault', () =>
  expect(parseTrustStream(new Map([['root/x', { pem: pem('one') }]]))).toEqual({ links: [] }))

test('a field of a newer centre stays, since the digest covers it', () => {
  const newer = { ...bundle, weather: 'sun', roots: [{ ...bundle.roots[0], colour: 'green' }] }
  const read = parseTrustStream(items({ bundle: newer })).bundle
  const plain = parseTrustStream(items()).bundle
  if (!read || !plain) throw new Error('no bundle')
  expect(read).toEqual(newer)
  expect(digestOf(read)).not.toBe(digestOf(plain))
  expect(digestOf(plain)).toBe(digestOf({ ...plain }))
})

test('a signature covers the mesh and every field but itself', () => {
  const mesh = parseMeshName('mesh1')
  const said = signedText(mesh, link(2))
  expect(said).toBe(signedText(mesh, { ...link(2), signature: 'other' } as never))
  for (const changed of [{ seq: 3 }, { prev: hex('d') }, { digest: hex('d') }, { at: 1 }, { signer: hex('d') }])
    expect(signedText(mesh, { ...link(2), ...changed })).not.toBe(said)
  expect(signedText(mesh, { ...link(2), controlPlane: [pem('cp')] })).not.toBe(said)
  expect(signedText(parseMeshName('mesh2'), link(2))).not.toBe(said)
})

test('foreign trust domains that were taken out are said where there are any', () => {
  const unfederated = [{ trustDomain: 'former.example', cut: 3, at: 950 }]
  expect(parseTrustStream(items({ bundle: { ...bundle, unfederated } })).bundle).toMatchObject({ unfederated })
  expect(parseTrustStream(items()).bundle).not.toHaveProperty('unfederated')
  const bad = { ...bundle, unfederated: [{ trustDomain: 'Former.example', cut: 3, at: 950 }] }
  expect(() => parseTrustStream(items({ bundle: bad }))).toThrow(/bundle\.unfederated\.0\.trustDomain/)
})

describe('a stream that makes no sense is refused whole, and the item is named', () => {
  test.each([
    ['seq 0', { bundle: { ...bundle, seq: 0 } }, 'bundle.seq'],
    ['no root', { bundle: { ...bundle, roots: [] } }, 'bundle.roots'],
    ['no control-plane CA', { bundle: { ...bundle, controlPlane: [] } }, 'bundle.controlPlane'],
    ['a root in an unknown state', { bundle: { ...bundle, roots: [{ pem: pem('x'), state: 'revoked' }] } }, 'roots.0'],
    ['one root twice', { bundle: { ...bundle, roots: [bundle.roots[0], bundle.roots[0]] } }, 'one root twice'],
    ['a denied id that is none', { bundle: { ...bundle, denied: [{ id: 'spiffe://b/x', cut: 1 }] } }, 'denied.0.id'],
    ['a foreign domain twice', { bundle: { ...bundle, foreign: [bundle.foreign[0], bundle.foreign[0]] } }, 'twice'],
    ['too many bytes', { bundle: { ...bundle, more: 'x'.repeat(262_144) } }, 'bytes; at most 262144'],
    ['a bundle that is text', { bundle: 'x' }, 'bundle'],
    ['a link under another number', { [bundleKeys.link(3)]: link(4) }, 'its number is 4'],
    ['a link without a signature', { [bundleKeys.link(3)]: { ...link(3), signature: '' } }, 'signature'],
  ])('%s', (_, more, said) => {
    const parse = () => parseTrustStream(items(more))
    expect(parse).toThrow(said)
    expect(parse).toThrow('the one before it stays in force')
  })
})
