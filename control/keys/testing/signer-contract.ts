import { createPublicKey, verify } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { parseMeshName } from '#mesh/model/id.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { rootNames } from '#mesh/trust/names.ts'
import { parsePublicKey } from '#mesh/trust/public-key.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** What every signer must do, whatever holds its key. `open` gives a signer of one and the same key each time. */
export function signerContract(name: string, open: () => Promise<Signer>): void {
  describe(`signer: ${name}`, () => {
    test('its public key is one that certificates take, and always the same', async () => {
      const [one, two] = [await open(), await open()]
      const spki = await one.publicKeySpki()
      const { kind } = parsePublicKey(spki)
      expect(one.algorithm).toBe(kind === 'P-384' ? 'ecdsa-sha384' : 'ecdsa-sha256')
      expect(Buffer.from(await one.publicKeySpki()).equals(spki)).toBe(true)
      expect(Buffer.from(await two.publicKeySpki()).equals(spki)).toBe(true)
    })

    test('it hashes and signs, and only its key verifies', async () => {
      const signer = await open()
      const key = createPublicKey({ key: Buffer.from(await signer.publicKeySpki()), format: 'der', type: 'spki' })
      const digest = signer.algorithm === 'ecdsa-sha384' ? 'sha384' : 'sha256'
      for (const bytes of [0, 1, 31, 32, 48, 4096, 20_000]) {
        const data = new Uint8Array(bytes).fill(7)
        const signature = await signer.sign(data)
        expect(verify(digest, data, key, signature)).toBe(true)
        expect(verify(digest, new Uint8Array([...data, 0]), key, signature)).toBe(false)
      }
    })

    test('many at once do not mix', async () => {
      const signer = await open()
      const key = createPublicKey({ key: Buffer.from(await signer.publicKeySpki()), format: 'der', type: 'spki' })
      const digest = signer.algorithm === 'ecdsa-sha384' ? 'sha384' : 'sha256'
      const texts = Array.from({ length: 20 }, (_, i) => Buffer.from(`text ${i}`))
      const signatures = await Promise.all(texts.map((text) => signer.sign(text)))
      expect(texts.map((text, i) => verify(digest, text, key, signatures[i] ?? Buffer.alloc(0)))).not.toContain(false)
    })

    test('a root certificate made with it passes its profile', async () => {
      const signer = await open()
      const request = {
        profile: 'root',
        names: rootNames(parseMeshName('mesh1'), 1),
        publicKey: await signer.publicKeySpki(),
        issuer: 'self',
        now: new Date('2026-01-01T00:00:00Z'),
        serial: new Uint8Array(16).fill(9),
      } as const
      expect((await issueCertificate(request, signer)).ca).toBe(true)
    })

    test('it has no way to show its key', async () => {
      const signer = await open()
      expect(JSON.stringify(signer)).not.toMatch(/PRIVATE|pkcs8|passphrase/i)
      expect(Object.keys(signer).toSorted()).toEqual(['algorithm', 'publicKeySpki', 'sign'])
    })
  })
}
