import { z } from 'zod'
import type { Gateway } from '#mesh/model/gateway.ts'
import { gatewayAddressOf } from '#mesh/model/gateway-address.ts'
import { type NetworkName, parseNetworkName } from '#mesh/model/id.ts'

/** The east-west gateways that a Service stands for, and the network that they lead to. */
export type GatewayService = { readonly network: NetworkName; readonly gateways: readonly OwnGateway[] }
export type OwnGateway = Pick<Gateway, 'address' | 'port'>

type Labelled = {
  readonly labels?: Readonly<Record<string, string>> | null | undefined
  readonly annotations?: Readonly<Record<string, string>> | null | undefined
}

const networkLabel = 'topology.istio.io/network'
const portLabel = 'networking.istio.io/gatewayPort'
const istioPort = 15443
const text = z.string().max(4096).nullish()

const gatewaySchema = z.object({
  spec: z.object({
    ports: z.array(z.object({ port: z.number() })).nullish(),
    externalIPs: z.array(z.string().max(64)).max(64).nullish(),
  }),
  status: z
    .object({
      loadBalancer: z
        .object({
          ingress: z
            .array(z.object({ ip: text, hostname: text }))
            .max(64)
            .nullish(),
        })
        .nullish(),
    })
    .nullish(),
})

/**
 * The gateways of a Service with Istio's label `topology.istio.io/network` and a port of the number that
 * `networking.istio.io/gatewayPort` says (15443 unless it does): its external addresses and those of its load balancer,
 * host names as well. Undefined for any other Service. Source: Istio, `kube/controller/network.go`.
 */
export function parseGatewayService({ labels, annotations }: Labelled, raw: unknown): GatewayService | undefined {
  const network = labels?.[networkLabel]
  if (network === undefined) return undefined
  const { spec, status } = gatewaySchema.parse(raw)
  const port = Number(labels?.[portLabel] ?? annotations?.[portLabel] ?? istioPort)
  if (!spec.ports?.some((one) => one.port === port)) return undefined
  const ingress = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => hostname || ip || '')
  const addresses = new Set([...(spec.externalIPs ?? []), ...ingress].filter((one) => one !== '').map(gatewayAddressOf))
  return { network: parseNetworkName(network), gateways: [...addresses].map((address) => ({ address, port })) }
}
