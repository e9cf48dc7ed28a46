import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { relayFault } from '#gateway/proxy/relay-identity.ts'
import type { ProxySettings } from '#gateway/proxy/settings.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '#gen/istio/ca_pb.js'
import { Problem, type ProblemKind, problemKinds } from '#mesh/model/problem.ts'
import { parseCertificates } from '#mesh/trust/certificate.ts'

const lifeSeconds = 86_400
const deadlineMs = 10_000
const method = '/istio.v1.auth.IstioCertificateService/CreateCertificate'

type From = Pick<ProxySettings, 'relay' | 'relayUri' | 'caFile' | 'tokenFile' | 'cluster'>

/**
 * The relay's answer to one certificate request: PEM texts, leaf first, roots last, unchecked. The CA and the token are
 * read from their files for every call, because both are replaced while this program runs.
 *
 * Throws `unavailable` when the relay cannot be reached, `forbidden` when it is not the expected one,
 * `unauthenticated` when it refuses the token, `invalid` for a broken file; each names the address or file.
 */
export async function requestCertificate(from: From, csr: string): Promise<readonly string[]> {
  const caPem = await readText(from.caFile, 'control-plane CA', '--ca-file')
  parseCertificates(caPem, `the control-plane CA file ${from.caFile}`)
  const token = await readToken(from.tokenFile)
  let refused: Problem | undefined
  const context = createSecureContext({ ca: caPem, minVersion: 'TLSv1.3' })
  const trust = credentials.createFromSecureContext(context, {
    checkServerIdentity: (_host, certificate) => {
      refused = relayFault(certificate.raw, from.relayUri)
      return refused
    },
  })
  const client = new Client(targetOf(from), trust, {
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.max_receive_message_length': 262_144,
    ...(isIP(from.relay.host) === 0 ? {} : { 'grpc.ssl_target_name_override': 'relay.isthmus-system.svc' }),
  })
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token}`)
  metadata.set('clusterid', from.cluster)
  try {
    const request = create(IstioCertificateRequestSchema, { csr, validityDuration: BigInt(lifeSeconds) })
    return await new Promise((done, fail) => {
      client.makeUnaryRequest(
        method,
        (value: typeof request) => Buffer.from(toBinary(IstioCertificateRequestSchema, value)),
        (bytes) => fromBinary(IstioCertificateResponseSchema, bytes),
        request,
        metadata,
        { deadline: Date.now() + deadlineMs },
        (error, answer) => (error ? fail(refused ?? problemOf(error, from)) : done(answer?.certChain ?? [])),
      )
    })
  } finally {
    client.close()
  }
}

const targetOf = ({ relay }: From): string =>
  isIP(relay.host) === 0
    ? `dns:${relay.host}:${relay.port}`
    : isIP(relay.host) === 6
      ? `ipv6:[${relay.host}]:${relay.port}`
      : `ipv4:${relay.host}:${relay.port}`

async function readText(file: string, what: string, flag: string): Promise<string> {
  try {
    const text = await readFile(file, 'utf8')
    if (text.length <= 1_048_576) return text
  } catch (cause) {
    const reason = cause instanceof Error && 'code' in cause ? String(cause.code) : 'cannot be read'
    throw new Problem('unavailable', `the ${what} file ${file} cannot be read (${reason}); mend it, or ${flag}`, {
      cause,
    })
  }
  throw new Problem('invalid', `the ${what} file ${file} is larger than 1 MiB; mend it, or ${flag}`)
}

async function readToken(file: string): Promise<string> {
  const token = (await readText(file, 'token', '--token-file')).trim()
  if (/^[A-Za-z0-9._~+/=-]{1,16384}$/.test(token)) return token
  const reason = token === '' ? 'is empty' : 'holds something else than one token'
  throw new Problem('invalid', `the token file ${file} ${reason}; it must hold the projected service-account token`)
}

/** The row of the closed table for a gRPC error, with the address and what to look at. */
function problemOf(error: ServiceError, { relay, tokenFile }: From): Problem {
  const kinds = Object.keys(problemKinds).filter((one): one is ProblemKind => one in problemKinds)
  const kind = kinds.find((one) => problemKinds[one].grpc === error.code) ?? 'unavailable'
  const at = `the relay ${relay.host}:${relay.port}`
  if (kind === 'unauthenticated')
    return new Problem(kind, `${at} refuses the token of ${tokenFile}: ${error.details}`, { cause: error })
  if (kind === 'unavailable') return new Problem(kind, `${at} cannot be reached: ${error.details}`, { cause: error })
  return new Problem(kind, `${at} refuses the certificate request: ${error.details}`, { cause: error })
}
