import { createSecureContext } from 'node:tls'
import { experimental, type ServerCredentials } from '@grpc/grpc-js'
import { Problem } from '#mesh/model/problem.ts'

/** What a listener shows and whom it believes, as PEM. */
export type Serving = { readonly cert: string; readonly key: string; readonly clientCas: string }

export type ServingCertificate = {
  readonly credentials: ServerCredentials
  /** New handshakes use it from now on; open connections stay. Throws `invalid` and changes nothing when it is not usable. */
  readonly rotate: (next: Serving) => void
}

type CaListener = Parameters<experimental.CertificateProvider['addCaCertificateListener']>[0]
type IdentityListener = Parameters<experimental.CertificateProvider['addIdentityCertificateListener']>[0]

/**
 * Server credentials that ask for a client certificate, take a connection without one, and can be replaced while they
 * serve. A certificate that does not verify counts as none, so its client must show a token or is refused.
 */
export function servingCertificate(first: Serving): ServingCertificate {
  let current = checked(first)
  const caListeners = new Set<CaListener>()
  const identityListeners = new Set<IdentityListener>()
  // grpc-js registers its listener before it is ready to be told, so it is told a moment later.
  const provider: experimental.CertificateProvider = {
    addCaCertificateListener: (listener) => {
      caListeners.add(listener)
      queueMicrotask(() => listener(caOf(current)))
    },
    removeCaCertificateListener: (listener) => void caListeners.delete(listener),
    addIdentityCertificateListener: (listener) => {
      identityListeners.add(listener)
      queueMicrotask(() => listener(identityOf(current)))
    },
    removeIdentityCertificateListener: (listener) => void identityListeners.delete(listener),
  }
  return {
    credentials: experimental.createCertificateProviderServerCredentials(provider, provider, false),
    rotate: (next) => {
      current = checked(next)
      for (const listener of caListeners) listener(caOf(current))
      for (const listener of identityListeners) listener(identityOf(current))
    },
  }
}

const caOf = (serving: Serving) => ({ caCertificate: Buffer.from(serving.clientCas) })
const identityOf = (serving: Serving) => ({
  certificate: Buffer.from(serving.cert),
  privateKey: Buffer.from(serving.key),
})

function checked(serving: Serving): Serving {
  try {
    createSecureContext({ cert: serving.cert, key: serving.key, ca: serving.clientCas })
    return serving
  } catch (cause) {
    throw new Problem('invalid', 'the serving certificate, its key and the client roots do not make a TLS context', {
      cause,
    })
  }
}
