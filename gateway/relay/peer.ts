import type { Metadata, ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js'

/** What a connection and the headers of its call prove or claim. */
export type Peer = {
  /** URI names of the verified client certificate; empty without one, or when it is past its time. */
  readonly certificateUris: readonly string[]
  readonly bearerToken: string | undefined
  /** The request headers by lower-case name, without the token and binary ones. */
  readonly metadata: Readonly<Record<string, string>>
  readonly address: string
}

type AnyCall = Pick<ServerUnaryCall<never, never> | ServerDuplexStream<never, never>, 'getAuthContext' | 'getPeer'> & {
  readonly metadata: Metadata
}

/**
 * The peer of a call. A resumed TLS session is not verified again, so the certificate's time is checked here.
 */
export function peerOf(call: AnyCall, now: Date): Peer {
  const certificate = call.getAuthContext().sslPeerCertificate
  const inTime = certificate !== undefined && new Date(certificate.valid_to) > now
  const { authorization, ...metadata } = Object.fromEntries(
    Object.entries(call.metadata.getMap()).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  )
  return {
    certificateUris: inTime ? urisIn(certificate.subjectaltname ?? '') : [],
    bearerToken: /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1],
    metadata,
    address: call.getPeer(),
  }
}

/** Node puts a name that could be mistaken for two into quotes; no SPIFFE ID needs that, so such a list is not read. */
const urisIn = (names: string): string[] =>
  names.includes('"') ? [] : names.split(', ').flatMap((name) => (name.startsWith('URI:') ? [name.slice(4)] : []))
