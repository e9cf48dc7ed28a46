import { createHash, createPublicKey, verify } from 'node:crypto'
import type { KMSClient, KMSClientConfig } from '@aws-sdk/client-kms'
import { faultOf } from '#control/keys/kms-fault.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { SignatureAlgorithm } from '#mesh/trust/oid.ts'
import { type KeyKind, type PublicKey, parsePublicKey } from '#mesh/trust/public-key.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** Where a fault of the key service is told: the caller hears which call failed and why, the log also what AWS said. */
export type KeyLog = { warn(fields: object, text: string): void }

export type KmsKey = {
  readonly client: Pick<KMSClient, 'send'>
  /** The ARN of a key or of an alias. */
  readonly arn: string
  readonly log?: KeyLog | undefined
  /** For one signature with all its attempts. */
  readonly deadlineMs?: number
}

const arnForm =
  /^arn:aws(-cn|-us-gov)?:kms:([a-z]{2}(-[a-z]+)+-[0-9]):[0-9]{12}:(key\/[A-Za-z0-9-]{1,64}|alias\/[A-Za-z0-9/_-]{1,250})$/

/** The region of a KMS key's or alias's ARN. Throws `invalid` for any other text: an ARN says account and region, so no other key is meant. */
export function regionOfArn(arn: string): string {
  const region = arnForm.exec(arn)?.[2]
  if (region !== undefined) return region
  const reason = 'is no ARN of a KMS key: write arn:aws:kms:<region>:<account>:key/<id> (or alias/<name>)'
  throw new Problem('invalid', `"${arn.toWellFormed().slice(0, 200)}" ${reason}`, {
    violations: [{ path: 'where', reason }],
  })
}

export type KmsAccess = Pick<KMSClientConfig, 'endpoint' | 'credentials'> & { readonly requestMs?: number }

/**
 * A client with bounds: three attempts, of which each may take three seconds. Region from the key's ARN, credentials from
 * where AWS's tools look for them. Loaded only where a key lies with KMS: the SDK costs a start 170 ms.
 */
export async function kmsClient(arn: string, { requestMs = 3000, ...access }: KmsAccess = {}): Promise<KMSClient> {
  const { KMSClient } = await import('@aws-sdk/client-kms')
  return new KMSClient({
    region: regionOfArn(arn),
    maxAttempts: 3,
    // `requestTimeout` alone only writes a warning when it has passed.
    requestHandler: { connectionTimeout: requestMs, requestTimeout: requestMs, throwOnRequestTimeout: true },
    ...access,
  })
}

/**
 * The signer of a key in KMS, and the key's own ARN: an alias may be moved to another key later, the signer stays with
 * this one.
 *
 * The digest is made here, so that a certificate of any size is signed and nothing but 32 or 48 bytes leaves; every
 * signature is verified before it is given out. Throws (also on signing) what `faultOf` says, and `conflict` for a key
 * that is not P-256 or P-384 or not for signing.
 */
export async function openKmsKey(key: KmsKey): Promise<{ readonly arn: string; readonly signer: Signer }> {
  const { GetPublicKeyCommand, SignCommand } = await import('@aws-sdk/client-kms')
  const found = await within(key, 'kms:GetPublicKey', (abortSignal) =>
    key.client.send(new GetPublicKeyCommand({ KeyId: key.arn }), { abortSignal }),
  )
  const arn = found.KeyId ?? key.arn
  const publicKey = readPublicKey(arn, found)
  const { algorithm, digest, name } = wayOf(publicKey.kind)
  const verifyKey = createPublicKey({ key: Buffer.from(publicKey.spki), format: 'der', type: 'spki' })
  const signer: Signer = {
    algorithm,
    publicKeySpki: async () => publicKey.spki,
    sign: async (tbs) => {
      const Message = createHash(digest).update(tbs).digest()
      const asked = { KeyId: arn, Message, MessageType: 'DIGEST', SigningAlgorithm: name } as const
      const { Signature: signature } = await within(key, 'kms:Sign', (abortSignal) =>
        key.client.send(new SignCommand(asked), { abortSignal }),
      )
      if (signature && verify(digest, tbs, verifyKey, signature)) return new Uint8Array(signature)
      throw new Problem(
        'unavailable',
        `KMS answered with a signature that the key ${arn} has not made; it is not used`,
        {
          extra: { retryAfterSeconds: 30, reason: 'bad-signature' },
        },
      )
    },
  }
  return { arn, signer }
}

export const kmsSigner = async (key: KmsKey): Promise<Signer> => (await openKmsKey(key)).signer

type Way = {
  readonly algorithm: SignatureAlgorithm
  readonly digest: string
  readonly name: 'ECDSA_SHA_256' | 'ECDSA_SHA_384'
}

const wayOf = (kind: KeyKind): Way =>
  kind === 'P-384'
    ? { algorithm: 'ecdsa-sha384', digest: 'sha384', name: 'ECDSA_SHA_384' }
    : { algorithm: 'ecdsa-sha256', digest: 'sha256', name: 'ECDSA_SHA_256' }

const specs: Readonly<Record<string, KeyKind>> = { ECC_NIST_P256: 'P-256', ECC_NIST_P384: 'P-384' }

type Found = {
  readonly KeySpec?: string | undefined
  readonly KeyUsage?: string | undefined
  readonly PublicKey?: Uint8Array | undefined
}

function readPublicKey(arn: string, { KeySpec, KeyUsage, PublicKey: spki }: Found): PublicKey {
  const kind = specs[KeySpec ?? '']
  if (kind === undefined || KeyUsage !== 'SIGN_VERIFY' || !spki)
    throw new Problem(
      'conflict',
      `the KMS key ${arn} (${KeySpec}, ${KeyUsage}) cannot sign certificates: make one of key spec ECC_NIST_P256 or ` +
        'ECC_NIST_P384 with key usage SIGN_VERIFY',
    )
  const key = parsePublicKey(new Uint8Array(spki))
  if (key.kind === kind) return key
  throw new Problem('conflict', `the KMS key ${arn} is of spec ${KeySpec}, and its public key is ${key.kind}`)
}

/** One call to its end, or to the deadline: the client's own bounds hold for one attempt each. */
async function within<T>(key: KmsKey, action: string, call: (abort: AbortSignal) => Promise<T>): Promise<T> {
  const { arn, deadlineMs = 10_000, log } = key
  const abort = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => {
      const error = Object.assign(new Error(`${action} took more than ${deadlineMs} ms`), { name: 'TimeoutError' })
      fail(error)
      abort.abort(error)
    }, deadlineMs)
  })
  try {
    return await Promise.race([call(abort.signal), late])
  } catch (cause) {
    const problem = faultOf(cause, { arn, action })
    log?.warn({ err: cause, key: arn, action, reason: problem.extra['reason'] }, 'the key service did not sign')
    throw problem
  } finally {
    clearTimeout(timer)
  }
}
