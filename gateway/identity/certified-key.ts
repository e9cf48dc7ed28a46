import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { z } from 'zod'
import type { Vault } from '#gateway/identity/vault.ts'
import { Problem, type Violation } from '#mesh/model/problem.ts'
import { type Certificate, certificatePem, parseCertificate, parseCertificates, same } from '#mesh/trust/certificate.ts'
import { checkCertificate } from '#mesh/trust/check-certificate.ts'
import { checkChain } from '#mesh/trust/check-chain.ts'
import { assembleCsr, buildCsrTbs } from '#mesh/trust/csr.ts'
import type { CertificateNames } from '#mesh/trust/names.ts'
import type { ProfileName } from '#mesh/trust/profile.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** A key with the chain that certifies it. */
export type Certified = {
  readonly signer: Signer
  readonly keyPem: string
  /** Own certificate first, without the root. */
  readonly chain: readonly [Certificate, ...Certificate[]]
  readonly roots: readonly Certificate[]
}

/** What the centre answers to a request: PEM. */
export type Certification = { readonly chain: string; readonly roots: readonly string[] }

/** A P-256 key of this relay that somebody else certifies, with the next one while that is being certified. */
export type CertifiedKey = {
  readonly profile: ProfileName
  readonly current: () => Certified | undefined
  /** Own certificates before this one that have not ended: what they signed may still be about. Newest first. */
  readonly earlier: () => readonly Certificate[]
  /**
   * PKCS#10 (PEM) for the next key. The key is made and on disk before this resolves, and the same until accepted; for
   * another `name` it is another one: what may be known with the key of a revoked trust domain is never asked for again.
   */
  readonly request: (name: string) => Promise<string>
  /**
   * Takes the answer into use: saved first, then current. Throws `invalid` with every violation, and changes nothing,
   * when it is not for our key, not of its profile, not for `names`, or its chain does not lead to one of its roots.
   */
  readonly accept: (answer: Certification, expected: { names: CertificateNames; now: Date }) => Promise<Certified>
  /** Reads the vault again: another replica may have had the next one certified. Gives whether the current one is another. */
  readonly reload: () => Promise<boolean>
}

const earlierMax = 4
const stateSchema = z.object({
  version: z.literal(1),
  next: z.string().optional(),
  nextFor: z.string().optional(),
  current: z.object({ key: z.string(), chain: z.string(), roots: z.array(z.string()).min(1).max(16) }).optional(),
  earlier: z.array(z.string()).max(earlierMax),
})
type State = z.infer<typeof stateSchema>

/**
 * Opens what `vault` holds. The keys never leave it but into this process's memory. Key, next key and chain are one text,
 * so that no crash parts a key from its certificate.
 *
 * Throws what the vault throws, and `conflict` when the text is of another version or its parts do not belong together.
 */
export async function openCertifiedKey(vault: Vault, profile: ProfileName): Promise<CertifiedKey> {
  let text = await vault.load()
  let state: State = text === undefined ? { version: 1, earlier: [] } : parseState(text, vault.place)
  let current = state.current && certifiedFrom(state.current, vault.place)
  const save = async (next: State): Promise<void> => {
    const whole = JSON.stringify(next)
    await vault.save(whole)
    text = whole
    state = next
  }
  const inTurn = turns()
  return {
    profile,
    current: () => current,
    reload: () =>
      inTurn(async () => {
        const found = await vault.load()
        if (found === undefined || found === text) return false
        const next = parseState(found, vault.place)
        const made = next.current && certifiedFrom(next.current, vault.place)
        const isOther = next.current?.chain !== state.current?.chain
        text = found
        state = next
        current = isOther ? made : current
        return isOther
      }),
    earlier: () => state.earlier.map((pem) => parseCertificate(pem)),
    request: (name) =>
      inTurn(async () => {
        if (state.next === undefined || state.nextFor !== name)
          await save({ ...state, next: newKeyPem(), nextFor: name })
        return await buildCsr(signerOf(state.next ?? ''))
      }),
    accept: (answer, { names, now }) =>
      inTurn(async () => {
        const chain = parseCertificates(answer.chain)
        const roots = answer.roots.map((pem, i) => parseCertificate(pem, `roots[${i}]`))
        const key = [state.next, state.current?.key].find((pem) => pem !== undefined && isKeyOf(pem, chain[0]))
        if (key === undefined) throw refusal(profile, [{ path: 'publicKey', reason: 'is not the key we asked for' }])
        const violations = [
          ...(chain[0] ? checkCertificate(chain[0], profile, { names, now }) : []),
          ...checkChain(chain, { roots, now }),
        ]
        if (violations.length > 0) throw refusal(profile, violations)
        const before = key === state.current?.key ? [] : (current?.chain.slice(0, 1).map(certificatePem) ?? [])
        const earlier = [...before, ...state.earlier].filter((pem) => parseCertificate(pem).notAfter > now)
        const taken = { key, chain: answer.chain, roots: [...answer.roots] }
        const made = certifiedFrom(taken, vault.place)
        const { next, nextFor, ...rest } = state
        const left = next === undefined || next === key ? {} : { next, nextFor }
        await save({ ...rest, ...left, current: taken, earlier: earlier.slice(0, earlierMax) })
        current = made
        return made
      }),
  }
}

/** One after the other: two renewals at once would each make a key and throw one away. */
function turns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const mine = last.then(work, work)
    last = mine.catch(() => undefined)
    return mine
  }
}

function parseState(text: string, place: string): State {
  try {
    return stateSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw damaged(place, 'it is not of a version this relay reads', cause)
  }
}

/** Checked for what cannot change with time; whether it has ended is for whoever uses it to see. */
function certifiedFrom({ key, chain, roots }: NonNullable<State['current']>, place: string): Certified {
  const [own, ...more] = parseCertificates(chain)
  if (!own || !isKeyOf(key, own)) throw damaged(place, 'its certificate is for another key')
  const parsed = roots.map((pem) => parseCertificate(pem))
  return { signer: signerOf(key), keyPem: key, chain: [own, ...more], roots: parsed }
}

const newKeyPem = (): string =>
  generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

const spkiOf = (key: KeyObject): Uint8Array =>
  new Uint8Array(createPublicKey(key).export({ type: 'spki', format: 'der' }))

const isKeyOf = (keyPem: string, certificate: Certificate | undefined): boolean =>
  same(spkiOf(createPrivateKey(keyPem)), certificate?.publicKey.spki)

function signerOf(keyPem: string): Signer {
  const key = createPrivateKey(keyPem)
  const spki = spkiOf(key)
  return {
    algorithm: 'ecdsa-sha256',
    publicKeySpki: async () => spki,
    sign: async (tbs) => new Uint8Array(sign('sha256', tbs, key)),
  }
}

async function buildCsr(signer: Signer): Promise<string> {
  const tbs = buildCsrTbs(await signer.publicKeySpki())
  return assembleCsr(tbs, signer.algorithm, await signer.sign(tbs))
}

const damaged = (place: string, reason: string, cause?: unknown): Problem =>
  new Problem(
    'conflict',
    `the key in ${place} is not used: ${reason}; delete it, and a new key is made and certified`,
    {
      cause,
    },
  )
const refusal = (profile: ProfileName, violations: readonly Violation[]): Problem =>
  new Problem(
    'invalid',
    `the ${profile} certificate from the centre is not used: ${violations.map((v) => `${v.path} ${v.reason}`).join('; ')}`,
    { violations },
  )
