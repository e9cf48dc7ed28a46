import type { Caller } from '#gateway/grpc/call.ts'

/** What a connection and the headers of its call prove or claim. */
export type Peer = {
  /** URI names of the verified client certificate; empty without one, or when it is past its time. */
  readonly certificateUris: readonly string[]
  readonly bearerToken: string | undefined
  readonly address: string
}

/** A connection outlives its handshake, and is not verified again: the certificate's time is checked at each call. */
export function peerOf({ address, certificate: read, values }: Caller, now: Date): Peer {
  const certificate = read()
  const inTime = certificate !== undefined && new Date(certificate.validTo) > now
  return {
    certificateUris: inTime ? urisIn(certificate.subjectAltName ?? '') : [],
    bearerToken: /^Bearer +(\S+)$/i.exec(values('authorization').join(', '))?.[1],
    address,
  }
}

/** Node puts a name that could be mistaken for two into quotes; no SPIFFE ID needs that, so such a list is not read. */
const urisIn = (names: string): string[] =>
  names.includes('"') ? [] : names.split(', ').flatMap((name) => (name.startsWith('URI:') ? [name.slice(4)] : []))
