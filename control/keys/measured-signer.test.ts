import { expect, test } from 'vitest'
import { measuredSigner } from '#control/keys/measured-signer.ts'
import { Problem } from '#mesh/model/problem.ts'
import { keyInHand } from '#tests/support/authorities.ts'

const told: string[] = []
const measures = {
  signed: (place: string, ms: number) => void told.push(`${place} ${ms >= 0 ? 'signed' : 'before it began'}`),
  signerFault: (place: string, kind: string) => void told.push(`${place} ${kind}`),
}
const heard = (): string[] => told.splice(0)

test('a signature is told with its place, and is the key’s own', async () => {
  const key = keyInHand()
  const signer = await measuredSigner('file', async () => key, measures)
  expect(heard()).toEqual([])
  expect((await signer.sign(Uint8Array.of(1))).length).toBeGreaterThan(60)
  expect(await signer.publicKeySpki()).toEqual(key.spki)
  expect(heard()).toEqual(['file signed'])
})

test.each([
  ['what a key service says', new Problem('unavailable', 'x', { extra: { reason: 'throttled' } }), 'kms throttled'],
  ['another problem', new Problem('forbidden', 'x'), 'kms forbidden'],
  ['a fault of ours', new Error('x'), 'kms internal'],
])('%s: told by its kind, at opening and at signing, and thrown on', async (_, fault, line) => {
  const fails = () => Promise.reject(fault)
  await expect(measuredSigner('kms', fails, measures)).rejects.toBe(fault)
  const signer = await measuredSigner('kms', async () => ({ ...keyInHand(), sign: fails }), measures)
  await expect(signer.sign(Uint8Array.of(1))).rejects.toBe(fault)
  expect(heard()).toEqual([line, line])
})
