import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { Caller as GrpcCaller } from '#gateway/grpc/call.ts'
import type { Method } from '#gateway/grpc/server.ts'
import type { Certified } from '#gateway/identity/certified-key.ts'
import type { Holder, Issuer } from '#gateway/identity/issuer.ts'
import { type RateSettings, rateLimit } from '#gateway/identity/rate.ts'
import { refusedSentence, type VerifyToken } from '#gateway/identity/token.ts'
import {
  type IstioCertificateRequest,
  IstioCertificateRequestSchema,
  IstioCertificateResponseSchema,
} from '#gen/istio/ca_pb.js'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem, type ProblemKind } from '#mesh/model/problem.ts'
import type { Certificate } from '#mesh/trust/certificate.ts'
import { parseCsr } from '#mesh/trust/csr.ts'
import { profileOf } from '#mesh/trust/profile.ts'
import type { PublicKey } from '#mesh/trust/public-key.ts'

export type Log = Readonly<Record<'info' | 'warn', (facts: object, message: string) => void>>

/** By what a caller is known. */
export type CallerParts = {
  readonly issuer: Pick<Issuer, 'peerOf'>
  readonly verifyToken: VerifyToken
  readonly clock: () => Date
  /** This cluster's name: what a client's `clusterid` header must be, where it sends one. */
  readonly cluster: string
}

/** A certificate that is about to leave, and who gets it. */
export type Given = {
  readonly certificate: Certificate
  readonly authority: Certified
  readonly keySha256: string
  readonly holder: Holder
  /** `<namespace>/<pod>`; empty where a certificate said who asks. */
  readonly pod: string
  /** As `checkKey` was told. */
  readonly asker: string
}

export type CertificateServiceParts = CallerParts & {
  readonly issuer: Issuer
  readonly log: Log
  /** Throws `invalid` for a key that was certified before. */
  readonly checkKey?: (keySha256: string, asker: string) => void
  /** Called with every certificate before it leaves. */
  readonly onIssued?: (given: Given) => void
  readonly limits?: Partial<RateSettings & { readonly inFlightMax: number }>
}

/** Counters for /metrics: only ever rise. */
export type CertificateCounters = {
  readonly issued: number
  readonly refused: Readonly<Partial<Record<ProblemKind, number>>>
  /** End of the leaf issued last. */
  readonly lastNotAfter: Date | undefined
}

export type CertificateService = {
  /** By path. */
  readonly methods: Readonly<Record<string, Method>>
  readonly counters: () => CertificateCounters
}

const usualLimits = { burst: 10, perSecond: 0.2, keysMax: 20_000, inFlightMax: 1024 }
const lifeSecondsMax = profileOf('workload').lifeSecondsMax

/**
 * `istio.v1.auth.IstioCertificateService` on gRPC: what pilot-agent, ztunnel's kin and `isthmus proxy` call.
 *
 * The identity comes from the verified token, or without one from the client certificate of this cluster (renewal); of
 * the request only the public key counts, and the asked life: 0 = a day, more than a day = a day, never past the issuing
 * CA's end. Answer: leaf, issuing CA, roots, each PEM.
 *
 * Errors as istiod gives them, because agents retry by code: 3 for the CSR or a negative life, 8 for too many, 13 when
 * the CA cannot sign (yet), 16 "request authenticate failure" for every caller that is not known, whatever the reason.
 */
export function certificateService(parts: CertificateServiceParts): CertificateService {
  const limits = { ...usualLimits, ...parts.limits }
  const take = rateLimit(limits, parts.clock)
  const refused: Partial<Record<ProblemKind, number>> = {}
  let issued = 0
  let lastNotAfter: Date | undefined
  let inFlight = 0

  const certify = async (request: IstioCertificateRequest, from: GrpcCaller): Promise<readonly string[]> => {
    if (inFlight >= limits.inFlightMax)
      throw new Problem('too-many', 'too many certificate requests at once; try again')
    inFlight += 1
    try {
      if (request.metadata?.['ImpersonatedIdentity']) throw unknown('it asks for somebody else, which nobody may')
      const caller = await callerOf(from, parts)
      take(caller.bucket)
      const asked = askedIn(request)
      const keySha256 = sha256Hex(asked.key.spki)
      const asker = caller.pod || caller.bucket
      parts.checkKey?.(keySha256, asker)
      const { chain, certificate, authority } = await parts.issuer.issue(asked.key, caller.holder, asked.lifeSeconds)
      parts.onIssued?.({ certificate, authority, keySha256, asker, ...caller })
      issued += 1
      lastNotAfter = certificate.notAfter
      const serial = Buffer.from(certificate.serial).toString('hex')
      parts.log.info({ ...caller.holder, ...caller.facts, serial, notAfter: lastNotAfter }, 'certificate issued')
      return chain
    } finally {
      inFlight -= 1
    }
  }

  const createCertificate = async (message: Uint8Array, from: GrpcCaller): Promise<Uint8Array> => {
    try {
      const chain = await certify(requestIn(message), from)
      return toBinary(IstioCertificateResponseSchema, create(IstioCertificateResponseSchema, { certChain: [...chain] }))
    } catch (fault) {
      const problem = fault instanceof Problem ? fault : new Problem('internal', 'no certificate', { cause: fault })
      refused[problem.kind] = (refused[problem.kind] ?? 0) + 1
      parts.log.warn({ peer: from.address, kind: problem.kind, err: reasonOf(problem) }, 'certificate refused')
      throw told(problem)
    }
  }

  return {
    methods: { [path]: { kind: 'unary', answer: createCertificate } },
    counters: () => ({ issued, refused: { ...refused }, lastNotAfter }),
  }
}

const path = '/istio.v1.auth.IstioCertificateService/CreateCertificate'

function requestIn(message: Uint8Array): IstioCertificateRequest {
  try {
    return fromBinary(IstioCertificateRequestSchema, message)
  } catch (cause) {
    throw new Problem('invalid', 'the message is no IstioCertificateRequest', { cause })
  }
}

export type Caller = {
  readonly holder: Holder
  /** Who it is to rate limits. */
  readonly bucket: string
  /** `<namespace>/<pod>`, where a token said so. */
  readonly pod: string
  readonly facts: object
}

/** Who calls: by the token it shows, else by its client certificate. Throws `unauthenticated`, the reason as its cause. */
export async function callerOf(from: GrpcCaller, parts: CallerParts): Promise<Caller> {
  const cluster = soleValue(from, 'clusterid')
  if (cluster !== undefined && cluster !== '' && cluster !== parts.cluster) throw unknown(`clusterid is "${cluster}"`)
  const authorization = soleValue(from, 'authorization')
  if (authorization !== undefined) {
    const [, token] = /^Bearer (\S+)$/i.exec(authorization) ?? []
    if (token === undefined) throw unknown('the authorization header is not "Bearer <token>"')
    const { namespace, serviceAccount, pod } = await parts.verifyToken(token)
    const holder = { namespace, serviceAccount }
    return { holder, bucket: `pod ${pod.uid}`, pod: `${namespace}/${pod.name}`, facts: { pod: pod.name } }
  }
  const peer = from.certificate()?.raw
  if (!peer) throw unknown('neither a token nor a client certificate')
  const { namespace, serviceAccount } = parts.issuer.peerOf(peer)
  return {
    holder: { namespace, serviceAccount },
    bucket: `id ${namespace}/${serviceAccount}`,
    pod: '',
    facts: { by: 'certificate' },
  }
}

/** The one value of a header. Two values are nobody's honest request. */
function soleValue(from: GrpcCaller, name: string): string | undefined {
  const [only, ...more] = from.values(name)
  if (more.length > 0) throw unknown(`the header ${name} is there ${more.length + 1} times`)
  return only
}

function askedIn({ csr, validityDuration }: IstioCertificateRequest): { key: PublicKey; lifeSeconds: number } {
  if (validityDuration < 0n) {
    throw new Problem('invalid', 'the asked life is negative', {
      violations: [{ path: 'validity_duration', reason: 'is negative' }],
    })
  }
  const asked = validityDuration === 0n ? BigInt(lifeSecondsMax) : validityDuration
  const lifeSeconds = asked > BigInt(lifeSecondsMax) ? lifeSecondsMax : Number(asked)
  return { key: parseCsr(csr), lifeSeconds }
}

/** istiod says Internal where its CA is not ready, and agents try again on it. */
const told = (problem: Problem): Problem =>
  problem.kind === 'unavailable' ? new Problem('internal', problem.message, { cause: problem }) : problem

const unknown = (cause: string): Problem => new Problem('unauthenticated', refusedSentence, { cause })

/** Never the token, never the CSR: messages only. */
export function reasonOf(problem: Problem): string {
  const { cause } = problem
  const reason = cause instanceof Error ? cause.message : typeof cause === 'string' ? cause : undefined
  return reason ? `${problem.message}: ${reason}` : problem.message
}
