import { expect, test } from 'vitest'
import { parseCertificate } from '#mesh/trust/certificate.ts'
import { shutInto } from '#mesh/trust/name-constraints.ts'
import { toPem } from '#mesh/trust/pem.ts'
import { shutAnchor } from '#mesh/trust/shut-anchor.ts'
import { parseTrustDomain } from '#mesh/trust/spiffe-id.ts'
import { domain, keyInHand, makeRoot } from '#tests/support/authorities.ts'
import { type AnyName, crooked } from '#tests/support/crooked.ts'
import { goForTests, goSays, hasOpenssl, opensslSays } from '#tests/support/second-opinion.ts'
import { rsaPair, selfSigned } from '#tests/support/self-signed.ts'

const partner = parseTrustDomain('partner.example')
const own: AnyName = { uri: 'spiffe://partner.example/ns/shop/sa/web' }

test('the same name, key, time and room, and constraints beside what it had', () => {
  for (const spec of [
    {},
    { key: rsaPair() },
    { pathLen: 2, extendedUsage: ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'] },
  ]) {
    const root = parseCertificate(selfSigned(spec))
    const shut = parseCertificate(shutAnchor(root, partner))
    const { der: _, tbs: __, extensions, nameConstraints, ...same } = shut
    expect(root).toMatchObject(same)
    expect([...extensions.keys()]).toEqual([...root.extensions.keys(), '2.5.29.30'])
    expect(extensions.get('2.5.29.30')).toEqual({ critical: true })
    expect(nameConstraints).toEqual({ permitted: [{ kind: 'uri', text: 'partner.example' }], excluded: [] })
  }
})

test('constraints of its own stay, and none of its URIs widens the one', () => {
  const wide = { ...shutInto(partner), permitted: [...shutInto(partner).permitted, ...shutInto(domain('b')).permitted] }
  const root = parseCertificate(selfSigned({ constraints: wide }))
  const { nameConstraints } = parseCertificate(shutAnchor(root, partner))
  const mail = { kind: 'email', text: 'none.invalid' } as const
  expect(nameConstraints).toEqual({ permitted: [shutInto(partner).permitted[0], mail, mail], excluded: wide.excluded })
})

test('OpenSSL and Go, verifying by it, take its own domain, and nobody else’s beside it', async () => {
  const made = await makeRoot({ key: keyInHand() })
  const by = { key: made.key, certificate: made.certificate }
  const anchor = shutAnchor(made.certificate, partner)
  const leaves = await Promise.all(
    [[own], [own, { uri: 'spiffe://b.mesh1/ns/shop/sa/web' }], [{ uri: 'spiffe://b.mesh1/ns/shop/sa/web' }]].map(
      async (names) => (await crooked({ names }, by)).der,
    ),
  )
  const asked = leaves.map((der) => ({ leaf: toPem(der), between: '', root: toPem(anchor) }))
  if (hasOpenssl())
    expect((await opensslSays(asked, { strict: false })).map((said) => said === 'OK')).toEqual([true, false, false])
  const go = goForTests()
  if (go) {
    const said = await goSays(
      go,
      asked.map((one) => ({ kind: 'chain', ...one })),
    )
    expect(said.map((one) => one === 'OK')).toEqual([true, false, false])
  }
})
