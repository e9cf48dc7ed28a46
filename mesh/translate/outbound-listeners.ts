import { create } from '@bufbuild/protobuf'
import { TrafficDirection } from '#gen/envoy/config/core/v3/base_pb.js'
import { ListenerSchema } from '#gen/envoy/config/listener/v3/listener_pb.js'
import { outboundNameOf } from '#mesh/model/host.ts'
import type { PlainAddresses } from '#mesh/model/proxy.ts'
import { typeUrls, type XdsResource } from '#mesh/model/resource.ts'
import type { Callable } from '#mesh/translate/callable.ts'
import { encode, ownerOf, socketAddress } from '#mesh/translate/encode.ts'
import { outboundHttp, tcpTo } from '#mesh/translate/http.ts'
import { cutName } from '#mesh/translate/inbound.ts'

/**
 * The name of an outbound chain, once a revocation ended what was open on it: an Envoy cluster that loses a host, or goes,
 * keeps its streams (measured), so a caller would go on with a server that nobody trusts any more.
 */
export const cutChain = (name: string, cut: number): { readonly name?: string } =>
  cut === 0 ? {} : { name: cutName(name, cut) }

export const cutOf = ({ road }: Callable): number => road?.imported.cut ?? 0

/** After how long a connection to a stream ends, where a policy says so. */
export const connectionMaxOf = ({ road }: Callable): number | undefined => road?.imported.policy?.connectionMaxMs

/** Without redirection: one listener per HTTP port on the proxy's outbound address; the Host header decides. */
export function plainHttpListener(plain: PlainAddresses, port: number, cut: number): XdsResource {
  const name = `${plain.outbound}_${port}`
  const message = create(ListenerSchema, {
    name,
    address: socketAddress(plain.outbound, port),
    trafficDirection: TrafficDirection.OUTBOUND,
    filterChains: [
      { ...cutChain(name, cut), filters: [outboundHttp({ statPrefix: `outbound_${name};`, routes: String(port) })] },
    ],
  })
  return encode({ type: typeUrls.listener, name }, ListenerSchema, message)
}

/** Where a TCP or TLS callable is taken without redirection; undefined where the proxy names no address for it. */
export const plainTcpAddressOf = (plain: PlainAddresses, callable: Callable): string | undefined =>
  callable.names.map((name) => plain.tcp[`${name}:${callable.port.port}`]).find((address) => address !== undefined)

/** Without redirection: a TCP or TLS callable has an address of its own, because nothing in its bytes names it. */
export function plainTcpListener(address: string, callable: Callable): XdsResource {
  const { port } = callable.port
  const name = `${address}_${port}`
  const message = create(ListenerSchema, {
    name,
    address: socketAddress(address, port),
    trafficDirection: TrafficDirection.OUTBOUND,
    filterChains: [
      {
        ...cutChain(name, cutOf(callable)),
        filters: [tcpTo(outboundNameOf(callable.host, port), connectionMaxOf(callable))],
      },
    ],
  })
  return encode({ type: typeUrls.listener, name, owner: ownerOf(callable.key) }, ListenerSchema, message)
}
