import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { callRelay, type RelayLine } from '#gateway/proxy/call-relay.ts'
import { IstioCertificateRequestSchema, IstioCertificateResponseSchema } from '#gen/istio/ca_pb.js'
import { Problem } from '#mesh/model/problem.ts'

const lifeSeconds = 86_400

/**
 * The relay's answer to one certificate request: PEM texts, leaf first, roots last, unchecked. Throws what `callRelay`
 * throws, and `unavailable` for an answer that is no such message.
 */
export async function requestCertificate(line: RelayLine, csr: string): Promise<readonly string[]> {
  const request = create(IstioCertificateRequestSchema, { csr, validityDuration: BigInt(lifeSeconds) })
  const answer = await callRelay(line, {
    path: '/istio.v1.auth.IstioCertificateService/CreateCertificate',
    body: toBinary(IstioCertificateRequestSchema, request),
    what: 'certificate request',
    answerBytesMax: 262_144,
  })
  try {
    return fromBinary(IstioCertificateResponseSchema, answer).certChain
  } catch (cause) {
    const { host, port } = line.relay
    throw new Problem('unavailable', `the relay ${host}:${port} answers something unreadable`, { cause })
  }
}
