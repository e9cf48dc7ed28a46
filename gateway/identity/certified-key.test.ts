import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Certification, openCertifiedKey } from '#gateway/identity/certified-key.ts'
import { openIssuingKey, planRenewal, renew, renewIfDue } from '#gateway/identity/issuing-key.ts'
import type { Vault } from '#gateway/identity/vault.ts'
import { certificatePem, parseCertificate } from '#mesh/trust/certificate.ts'
import { parseCsr } from '#mesh/trust/csr.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { issuingCaNames } from '#mesh/trust/names.ts'
import { planIssuingCa } from '#mesh/trust/plan-issuing-ca.ts'
import { csrOf, domain, type Holder, keyInHand, makeIssuing, makeRoot, mesh } from '#tests/support/authorities.ts'

const td = domain('cluster-a')
const names = issuingCaNames(mesh, td)
const name = names.uri ?? ''
const start = new Date('2026-05-01T00:00:00Z')
let now: Date
let root: Holder
let directory: string
let path: string
let asked: string[]
beforeEach(async () => {
  now = start
  asked = []
  directory = mkdtempSync(join(tmpdir(), 'issuing-'))
  path = join(directory, 'issuing.key')
  root = await makeRoot({ now: start })
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

let serial = 1
async function certify(csr: string, trustDomain = td): Promise<Certification> {
  asked.push(csr)
  serial += 1
  const bytes = new Uint8Array(16).fill(serial)
  const plan = planIssuingCa({ csr, trustDomain, mesh, issuer: root.certificate, now, serial: bytes })
  return { chain: certificatePem(await issueCertificate(plan, root.key)), roots: [root.pem] }
}
const later = (days: number): void => {
  now = new Date(start.getTime() + days * 86_400_000)
}
const spkiIn = (csr: string): string => Buffer.from(parseCsr(csr).spki).toString('hex')
const renewal = async () => ({ key: await openIssuingKey(directory), names, clock: () => now, certify })

describe('the key', () => {
  test('is on disk, 0600, before anybody is asked, and the same after a restart', async () => {
    const first = await (await openIssuingKey(directory)).request(name)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const again = await (await openIssuingKey(directory)).request(name)
    expect(spkiIn(again)).toBe(spkiIn(first))
    expect(readdirSync(directory).sort()).toEqual(['issuing.key', 'issuing.key.1'])
  })

  test('asked for under a later trust domain it is another one: the one before may be known', async () => {
    const first = await (await openIssuingKey(directory)).request(name)
    const later = await (await openIssuingKey(directory)).request('spiffe://cluster-a-g2.mesh1')
    expect(spkiIn(later)).not.toBe(spkiIn(first))
    expect(spkiIn(await (await openIssuingKey(directory)).request('spiffe://cluster-a-g2.mesh1'))).toBe(spkiIn(later))
  })

  test('two requests at once are for one key', async () => {
    const key = await openIssuingKey(directory)
    const [one, two] = await Promise.all([key.request(name), key.request(name)])
    expect(spkiIn(one)).toBe(spkiIn(two))
  })

  test('a failed call to the centre changes nothing; the next one asks for the same key', async () => {
    const parts = await renewal()
    await expect(
      renew({ ...parts, certify: (csr) => certify(csr).then(() => Promise.reject(new Error('cut'))) }),
    ).rejects.toThrow('cut')
    expect(parts.key.current()).toBeUndefined()
    await renew(await renewal())
    expect(new Set(asked.map(spkiIn)).size).toBe(1)
  })

  test('certified, it is served again after a restart', async () => {
    const made = await renew(await renewal())
    const opened = (await openIssuingKey(directory)).current()
    expect(opened?.chain.map(certificatePem)).toEqual(made.chain.map(certificatePem))
    expect(opened?.keyPem).toBe(made.keyPem)
  })
})

describe('what the centre answers is refused, and nothing changes, when', () => {
  const other = domain('cluster-b')
  const cases: [string, (csr: string) => Promise<Certification>, RegExp][] = [
    ['it is for another key', async () => certify(await csrOf(keyInHand())), /not the key we asked for/],
    ['it is for another trust domain', (csr) => certify(csr, other), /subjectAltName/],
    [
      'its root is another',
      async (csr) => ({ ...(await certify(csr)), roots: [(await makeRoot({ now: start })).pem] }),
      /trusted root/,
    ],
    ['there is no root', async (csr) => ({ ...(await certify(csr)), roots: [] }), /trusted root/],
    ['it is no certificate', async () => ({ chain: 'hello', roots: [root.pem] }), /PEM/],
    ['it has ended', async (csr) => certify(csr).finally(() => later(40)), /ended/],
    ['it begins in the future', async (csr) => certify(csr).finally(() => later(-0.01)), /future|begins/],
  ]
  test.each(cases)('%s', async (_, answer, reason) => {
    const good = await renew(await renewal())
    const before = readFileSync(path)
    const parts = await renewal()
    await parts.key.request(name)
    const requested = readFileSync(path)
    await expect(renew({ ...parts, certify: answer })).rejects.toMatchObject({
      kind: 'invalid',
      message: expect.stringMatching(reason),
    })
    expect(parts.key.current()?.keyPem).toBe(good.keyPem)
    expect(readFileSync(path).equals(requested)).toBe(true)
    expect(before.length).toBeGreaterThan(0)
  })
})

describe('renewal', () => {
  test('due at once without a certificate, then between 40 and 60 % of its life, always at the same moment', async () => {
    expect(planRenewal(undefined, now)).toEqual({ due: true, at: now, standing: 'none' })
    const made = await renew(await renewal())
    const { at } = planRenewal(made, now)
    expect(at.getTime()).toBeGreaterThan(start.getTime() + 11.9 * 86_400_000)
    expect(at.getTime()).toBeLessThan(start.getTime() + 18.1 * 86_400_000)
    expect(planRenewal((await openIssuingKey(directory)).current(), now).at).toEqual(at)
    expect(planRenewal(made, new Date(at.getTime() - 1)).due).toBe(false)
    expect(planRenewal(made, at).due).toBe(true)
    expect(planRenewal(made, new Date(start.getTime() + 31 * 86_400_000)).standing).toBe('ended')
  })

  test('due at once where it is not what is wanted: of another trust domain, or older than the membership', async () => {
    const first = await renew(await renewal())
    const again = await renewIfDue({ ...(await renewal()), since: start })
    expect(again.keyPem).toBe(first.keyPem)
    const moved = domain('cluster-a-g2')
    const other = { names: issuingCaNames(mesh, moved), certify: (csr: string) => certify(csr, moved) }
    const second = await renewIfDue({ ...(await renewal()), ...other })
    expect(second.chain[0].names).toEqual([{ kind: 'uri', text: 'spiffe://cluster-a-g2.mesh1' }])
    later(1)
    const third = await renewIfDue({ ...(await renewal()), ...other, since: new Date(start.getTime() + 1000) })
    expect(third.keyPem).not.toBe(second.keyPem)
  })

  test('a new key each time; the ones before are remembered until they end, without their keys', async () => {
    const first = await renew(await renewal())
    expect((await renewIfDue(await renewal()))?.keyPem).toBe(first.keyPem)
    now = planRenewal(first, now).at
    const second = await renewIfDue(await renewal())
    expect(second?.keyPem).not.toBe(first.keyPem)
    const key = await openIssuingKey(directory)
    expect(key.earlier().map(certificatePem)).toEqual([certificatePem(first.chain[0])])
    expect(readFileSync(path, 'utf8')).not.toContain(JSON.stringify(first.keyPem).slice(1, -1).split('\\n')[1])
    later(30.1)
    await renew(await renewal())
    const left = (await openIssuingKey(directory)).earlier().map(certificatePem)
    expect(left).not.toContain(certificatePem(first.chain[0]))
  })

  test('the present key may be certified anew, by another root', async () => {
    const parts = await renewal()
    const made = await renew(parts)
    const second = await makeRoot({ now: start })
    const cross = await makeIssuing(second, 'cluster-a', {
      now: start,
      key: { ...keyInHand(), spki: made.chain[0].publicKey.spki },
    })
    const taken = await parts.key.accept({ chain: cross.pem, roots: [root.pem, second.pem] }, { names, now })
    expect(taken.keyPem).toBe(made.keyPem)
    expect(parts.key.earlier()).toEqual([])
    expect(parseCertificate(cross.pem).publicKey.spki).toEqual(taken.chain[0].publicKey.spki)
  })
})

describe('the file', () => {
  test('cut off anywhere, or with a flipped bit: refused, and what to do is said', async () => {
    await renew(await renewal())
    const whole = readFileSync(path)
    for (let at = 0; at < whole.length; at += 41) {
      const flipped = Buffer.from(whole)
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8))
      for (const bytes of [flipped, whole.subarray(0, at)]) {
        writeFileSync(path, bytes)
        await expect(openIssuingKey(directory)).rejects.toMatchObject({ kind: 'conflict', message: /delete it/ })
      }
    }
  })

  test.each([0o640, 0o604, 0o666])('mode %o: refused', async (mode) => {
    await renew(await renewal())
    chmodSync(path, mode)
    await expect(openIssuingKey(directory)).rejects.toMatchObject({ kind: 'conflict', message: /chmod 600/ })
  })

  test('a key that cannot be saved is not asked about', async () => {
    const full: Vault = { place: 'x', load: async () => undefined, save: () => Promise.reject(new Error('ENOSPC')) }
    const key = await openCertifiedKey(full, 'issuing-ca')
    await expect(renew({ key, names, clock: () => now, certify })).rejects.toThrow('ENOSPC')
    expect(asked).toEqual([])
  })

  test('a disk full while saving leaves the old file', async () => {
    const made = await renew(await renewal())
    const parts = await renewal()
    mkdirSync(`${path}.${process.pid}.new`)
    await expect(renew(parts)).rejects.toMatchObject({ kind: 'unavailable' })
    expect((await openIssuingKey(directory)).current()?.keyPem).toBe(made.keyPem)
  })
})
