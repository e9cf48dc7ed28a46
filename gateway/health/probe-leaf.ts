import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { TrustDomain } from '#mesh/model/id.ts'
import { type Certificate, certificatePem } from '#mesh/trust/certificate.ts'
import { issueCertificate } from '#mesh/trust/issue-certificate.ts'
import { identityNames, relayId } from '#mesh/trust/names.ts'
import type { Signer } from '#mesh/trust/signer.ts'

/** The cluster's issuing CA as far as a probe's leaf needs it. */
export type LeafAuthority = {
  readonly signer: Pick<Signer, 'algorithm' | 'sign'>
  readonly chain: readonly [Certificate, ...Certificate[]]
}

export type ProbeLeafParts = {
  readonly trustDomain: TrustDomain
  /** Undefined where there is none that may sign now. */
  readonly authority: () => LeafAuthority | undefined
  /** PEM of the roots that gateways are believed by. */
  readonly roots: () => string | undefined
  readonly clock: () => Date
  readonly log: { warn(facts: object, text: string): void }
}

/** Who this relay is to the gateways that it probes. */
export type ProbeLeaf = {
  /** Undefined where it cannot prove itself, or cannot judge others: then no probe says anything. */
  context(): SecureContext | undefined
}

const lifeSeconds = 3600

/**
 * A leaf of this relay's own, its key in memory only, made anew at half of its life and whenever authority or roots are
 * others. While one is made the one before serves, for as long as it is good.
 */
export function openProbeLeaf({ trustDomain, authority, roots, clock, log }: ProbeLeafParts): ProbeLeaf {
  type Made = { readonly leaf: Certificate; readonly keyPem: string; readonly by: LeafAuthority }
  let made: Made | undefined
  let making = false
  let shown: { readonly from: Made; readonly ca: string; readonly context: SecureContext } | undefined

  return {
    context: () => {
      const by = authority()
      const ca = roots()
      if (by && isDue(by)) make(by)
      if (!made || ca === undefined || clock() >= made.leaf.notAfter) return undefined
      if (shown?.from !== made || shown.ca !== ca) shown = contextOf(made, ca)
      return shown?.context
    },
  }

  function isDue(by: LeafAuthority): boolean {
    if (made?.by.chain[0] !== by.chain[0]) return true
    const { notBefore, notAfter } = made.leaf
    return clock().getTime() >= (notBefore.getTime() + notAfter.getTime()) / 2
  }

  function make(by: LeafAuthority): void {
    if (making) return
    making = true
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    issueCertificate(
      {
        profile: 'relay-client',
        names: identityNames(relayId(trustDomain)),
        publicKey: publicKey.export({ type: 'spki', format: 'der' }),
        issuer: by.chain[0],
        now: clock(),
        serial: randomBytes(16),
        lifeSeconds,
      },
      by.signer,
    )
      .then(
        (leaf) => {
          made = { leaf, keyPem, by }
        },
        (error: Error) => log.warn({ err: error.message }, 'no certificate for probes of gateways could be made'),
      )
      .finally(() => {
        making = false
      })
  }

  function contextOf(from: Made, ca: string): typeof shown {
    try {
      const cert = [from.leaf, ...from.by.chain].map(certificatePem).join('')
      return { from, ca, context: createSecureContext({ cert, key: from.keyPem, ca }) }
    } catch (error) {
      log.warn({ err: (error as Error).message }, 'the roots that gateways are believed by are not usable')
      return undefined
    }
  }
}
