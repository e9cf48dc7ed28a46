import { Problem } from '#mesh/model/problem.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** Where a key of an authority lies. */
export type KeyPlace = 'file' | 'kms'

/** What the keys of authorities tell about themselves. */
export type SignerMeasures = {
  /** One signature, with all attempts that it took. */
  signed(place: KeyPlace, ms: number): void
  /** A key did not open or did not sign; `kind` is the reason that the key service gave, or the kind of the problem. */
  signerFault(place: KeyPlace, kind: string): void
}

/** What `open` gives, told to `measures` with each signature that it makes and each fault. */
export async function measuredSigner(
  place: KeyPlace,
  open: () => Promise<Signer>,
  measures: SignerMeasures | undefined,
): Promise<Signer> {
  const told = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (fault) {
      measures?.signerFault(place, kindOf(fault))
      throw fault
    }
  }
  const signer = await told(open)
  return {
    algorithm: signer.algorithm,
    publicKeySpki: () => signer.publicKeySpki(),
    sign: (tbs) =>
      told(async () => {
        const from = performance.now()
        const signature = await signer.sign(tbs)
        measures?.signed(place, performance.now() - from)
        return signature
      }),
  }
}

function kindOf(fault: unknown): string {
  if (!(fault instanceof Problem)) return 'internal'
  const { reason } = fault.extra
  return typeof reason === 'string' ? reason : fault.kind
}
