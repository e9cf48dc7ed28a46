import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { loadAuthorities } from '#control/store/authorities.ts'
import { stepRotations } from '#control/trust/rotate.ts'
import { openIssuingKey } from '#gateway/identity/issuing-key.ts'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { identityNames, issuingCaNames } from '#mesh/trust/names.ts'
import { spiffeId } from '#mesh/trust/spiffe-id.ts'
import type { SignAnswer } from '#mesh/wire/join.ts'
import { domain, keyInHand, mesh } from '#tests/support/authorities.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { keyPemOf, type Made, madeBelow, madeRoot, writePlugged } from '#tests/support/plugged.ts'
import { goForTests, goSays, hasOpenssl, opensslSays } from '#tests/support/second-opinion.ts'
import { rsaPair, type SelfSigned } from '#tests/support/self-signed.ts'
import { sha256Of, TrustingRelay } from '#tests/support/trusting-relay.ts'

// As Istio's own tool makes them, RSA throughout, but for the room that a mesh's root needs below itself.
const life = {
  notBefore: new Date('2026-01-01T00:00:00Z'),
  notAfter: new Date('2036-01-01T00:00:00Z'),
} satisfies SelfSigned
const company = madeRoot({ key: rsaPair(), ...life })
const first = madeBelow(company, { subject: 'first of the company', key: rsaPair(), ...life })
const second = madeBelow(company, { subject: 'second of the company', ...life })
const filesOf = (made: Made) => ({
  'ca-cert.pem': made.pem,
  'ca-key.pem': keyPemOf(made.key),
  'cert-chain.pem': made.pem + company.pem,
  'root-cert.pem': company.pem,
})

let dir: string
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'plugged-'))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))
const open: TestCentre[] = []
afterEach(async () => {
  for (const one of open.splice(0)) await one.close()
})
async function start(more: Parameters<typeof openTestCentre>[0] = {}): Promise<TestCentre> {
  const centre = await openTestCentre(more)
  open.unshift(centre)
  return centre
}

/** The issuing CA of a relay as its own code takes it, and a workload's certificate by it. */
async function certified(centre: TestCentre, { relay }: TrustingRelay) {
  const key = await openIssuingKey(mkdtempSync(join(dir, 'relay-')))
  await relay.authenticate()
  const body = { kind: 'issuing', csr: await key.request('spiffe://east.mesh1') }
  const answer = await centre.call('POST', `/v1/clusters/${relay.id}/certificates`, { bearer: relay.bearer, body })
  const { chain, roots } = answer.body as unknown as SignAnswer
  const now = new Date(centre.clock.now)
  const issuing = await key.accept({ chain, roots }, { names: issuingCaNames(mesh, domain(relay.name)), now })
  const leaf = await issueCertificate(
    {
      ...{ profile: 'workload', names: identityNames(spiffeId(domain(relay.name), 'shop', 'cart')), now },
      ...{ publicKey: keyInHand().spki, issuer: issuing.chain[0], serial: new Uint8Array(randomBytes(16)) },
    },
    issuing.signer,
  )
  return { chain: issuing.chain.map(certificatePem), roots: roots.join(''), leaf: certificatePem(leaf) }
}

async function rotate(centre: TestCentre, east: TrustingRelay): Promise<unknown> {
  const begun = await centre.admin('POST', '/v1/rotations', { kind: 'root', where: 'plugged' })
  if (begun.status !== 201) return begun.body
  const state = async () => (await centre.admin('GET', `/v1/rotations/${begun.body['id']}`)).body['state']
  for (let rounds = 0; rounds < 6 && (await state()) !== 'done'; rounds++) {
    await east.keepUp()
    await stepRotations(centre.centre)
  }
  return state()
}

const rootsOf = async (centre: TestCentre): Promise<string[]> =>
  (await centre.db.read((tx) => loadAuthorities(tx, mesh))).flatMap(({ kind, state, number, keyRef }) =>
    kind === 'root' ? [`${number} ${state} ${keyRef}`] : [],
  )

describe('a root that is brought along', () => {
  test('vouches for clusters below the company’s root, and others believe it', async () => {
    const rootCa = writePlugged(join(dir, 'good'), filesOf(first))
    const centre = await start({ rootCa })
    const east = await TrustingRelay.join(centre, 'east')
    await centre.settle()
    await east.keepUp()
    expect(east.bundle?.roots).toEqual([{ pem: company.pem, state: 'active' }])
    const { chain, roots, leaf } = await certified(centre, east)
    expect(chain).toEqual([expect.any(String), first.pem])
    expect(roots).toBe(company.pem)
    const question = { leaf, between: chain.join(''), root: roots, at: centre.clock.now / 1000 }
    if (hasOpenssl()) expect(await opensslSays([question, { ...question, purpose: 'sslserver' }])).toEqual(['OK', 'OK'])
    const go = goForTests()
    if (go) expect(await goSays(go, [{ kind: 'chain', purpose: 'sslclient', ...question }])).toEqual(['OK'])
  }, 30_000)

  test('its key is sealed like any other, and its directory is needed no more', async () => {
    const rootCa = writePlugged(join(dir, 'once'), filesOf(first))
    const centre = await start({ rootCa })
    expect(await rootsOf(centre)).toEqual(['1 active file:plugged-root-1.key'])
    const kept = readdirSync(join(centre.dir, 'keys')).map((name) =>
      readFileSync(join(centre.dir, 'keys', name), 'utf8'),
    )
    expect(kept.join('')).not.toContain('PRIVATE KEY')
    rmSync(rootCa, { recursive: true })
    for (const more of [{}, { rootCa }]) {
      const again = await start({ db: centre.db, dir: centre.dir, ...more })
      expect((await again.centre.keys.active('root')).signer.algorithm).toBe('rsa-sha256')
    }
  })

  test('with faults: all are named, nothing is made', async () => {
    const bad = madeBelow(company, {
      pathLen: 0,
      notAfter: new Date('2026-02-01T00:00:00Z'),
      notBefore: life.notBefore,
    })
    const rootCa = writePlugged(join(dir, 'bad'), { ...filesOf(bad), 'ca-key.pem': keyPemOf(first.key) })
    chmodSync(join(rootCa, 'ca-key.pem'), 0o644)
    const state = mkdtempSync(join(dir, 'state-'))
    const refused = await start({ rootCa, dir: state }).catch((error: Error) => error.message)
    expect(refused).toBe(
      `the CA in ${rootCa} is not taken, for 4 faults:
  ca-cert.pem has the path length 0: no issuing CA may stand below it
  ca-cert.pem ended at 2026-02-01T00:00:00.000Z
  ca-key.pem is not the key of ca-cert.pem
  ca-key.pem has the mode 644: others may have copied it; chmod 600 it if nobody did`,
    )
    expect(existsSync(join(state, 'keys', 'plugged-root-1.key'))).toBe(false)
  })

  test.each([
    ['missing', undefined, /^ca-key.pem is missing$/],
    ['encrypted', encrypted('pkcs8'), /^ca-key.pem is encrypted/],
    ['encrypted as of old', encrypted('pkcs1'), /^ca-key.pem is encrypted/],
    ['two', keyPemOf(first.key).repeat(2), /^ca-key.pem holds 2 keys; one is wanted$/],
    ['none', first.pem, /^ca-key.pem holds no private key in PEM$/],
    ['cut off', keyPemOf(first.key).replace(/\n[^-]{100}/, '\n'), /^ca-key.pem cannot be read as a key$/],
    ['1 MB', 'x'.repeat(2 ** 20), /^ca-key.pem has 1048576 bytes; at most 65536$/],
    ['of 1024 bits', keyPemOf(rsaPair(1024)), /^ca-key.pem it is RSA of 1024 bits/],
  ])('a key that is %s', async (what, text, reason) => {
    const { 'ca-key.pem': _, ...rest } = filesOf(first)
    const key: Record<string, string> = text === undefined ? {} : { 'ca-key.pem': text }
    const rootCa = writePlugged(join(dir, `key ${what}`), { ...rest, ...key })
    const refused = await start({ rootCa }).catch((error: Error) => error.message)
    expect(String(refused).split('\n  ').slice(1)).toEqual([expect.stringMatching(reason)])
  })
})

describe('later', () => {
  test('a mesh comes below it by a rotation, and from one CA of the company to the next by another', async () => {
    const rootCa = writePlugged(join(dir, 'later'), filesOf(first))
    const centre = await start({ dir: mkdtempSync(join(dir, 'state-')) })
    const east = await TrustingRelay.join(centre, 'east')
    await centre.settle()
    await east.keepUp()
    expect(await rotate(centre, east)).toMatchObject({ status: 400, detail: expect.stringContaining('--root-ca') })

    const with_ = await start({ db: centre.db, dir: centre.dir, rootCa })
    Object.assign(east.relay, { test: with_ })
    expect(await rotate(with_, east)).toBe('done')
    expect(await rootsOf(with_)).toEqual(['1 revoked file:root-1.key', '2 active file:plugged-root-2.key'])
    expect(east.said.issuing?.root).toBe(sha256Of(company.pem))
    expect(await rotate(with_, east)).toMatchObject({
      status: 400,
      violations: [{ path: 'ca-cert.pem', reason: 'is the same certificate as root 2 of this mesh' }],
    })

    // Below the same root: nobody has to trust anything new, and what is certified from then on is by the new one.
    writePlugged(rootCa, filesOf(second))
    expect(await rotate(with_, east)).toBe('done')
    expect((await rootsOf(with_)).slice(1)).toEqual([
      '2 revoked file:plugged-root-2.key',
      '3 active file:plugged-root-3.key',
    ])
    expect(east.bundle?.roots).toEqual([{ pem: company.pem, state: 'active' }])
    expect((await certified(with_, east)).chain[1]).toBe(second.pem)
  }, 30_000)
})

function encrypted(type: 'pkcs8' | 'pkcs1'): string {
  const { privateKey } = rsaPair()
  const options = { type, format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' } as const
  return privateKey.export(options).toString()
}
