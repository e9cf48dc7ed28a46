import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { load, YAMLException } from 'js-yaml'
import { z } from 'zod'
import { gatewayAddressFault, gatewayAddressOf } from '#mesh/model/gateway-address.ts'
import { Problem } from '#mesh/model/problem.ts'

const port = z.number().int().min(1).max(65535)
const address = z.ipv4().or(z.ipv6())
const gatewayAddress = z
  .string()
  .transform(gatewayAddressOf)
  .superRefine((text, context) => {
    const fault = gatewayAddressFault(text)
    if (fault !== undefined) context.addIssue({ code: 'custom', message: `"${text.slice(0, 80)}" ${fault}` })
  })
/** As node:dns takes it: an address, or `<IPv4>:<port>`, or `[<IPv6>]:<port>`. */
const dnsServer = z
  .string()
  .refine((text) => isIP(text.replace(/^\[?(.*?)\]?:[0-9]{1,5}$/, '$1')) !== 0 || isIP(text) !== 0, {
    error: 'is not an IP address, or one with a port (10.0.0.2:53, [2001:db8::2]:53)',
  })

/** `host:port`, with an IPv6 address in brackets. */
const beacon = z
  .string()
  .max(300)
  .transform((text, context) => {
    const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]+)):([0-9]{1,5})$/.exec(text) ?? []
    const [host, number] = [bracketed ?? plain, Number(digits)]
    if (host !== undefined && number >= 1 && number <= 65535) return { host, port: number }
    context.addIssue({ code: 'custom', message: `"${text.slice(0, 80)}" is not host:port` })
    return z.NEVER
  })

const objectName = z
  .string()
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/, 'is not the name of a Kubernetes object')
  .max(253)

const kubernetesSchema = z.strictObject({
  /** The pod's own service account where absent. */
  kubeconfig: z.string().min(1).optional(),
  /** Where the relay's own objects are: its Secret, its Lease. */
  namespace: objectName.default('isthmus-system'),
  /** What the replicas share: who they are, and the issuing key. */
  secret: objectName.default('relay'),
  /** What each namespace with meshed pods is given: the CA that proxies believe the relay by. */
  rootConfigMap: objectName.default('istio-ca-root-cert'),
  /** Where the addresses of imported services come from; without it they have none. */
  clusterSetCidr: z.cidrv4().optional(),
})
export type KubernetesSettings = z.infer<typeof kubernetesSchema>

/** `<dir>/isthmus.yaml`: what a relay cannot learn from anybody else. Paths are relative to the directory. */
const settingsSchema = z
  .strictObject({
    cluster: z.string(),
    region: z.string().min(1).max(63),
    network: z.string().min(1).max(63),
    /**
     * The east-west gateways, as other clusters dial them: addresses, or names that other clusters' relays resolve. Where
     * there are none, those of the Services that say so (`watch/gateway-service.ts`).
     */
    gateways: z
      .array(z.strictObject({ address: gatewayAddress, port: port.default(15443) }))
      .max(64)
      .default([]),
    /** Who is asked for the names of other clusters' gateways; the system's DNS servers where empty. */
    dns: z.strictObject({ servers: z.array(dnsServer).max(8).default([]) }).prefault({}),
    relay: z
      .strictObject({
        address: address.default('0.0.0.0'),
        port: port.default(15012),
        /** Where the replica that leads takes what others hand on to it; only where there are replicas. */
        handOnPort: port.default(15013),
        /** Where names of the cluster set are answered, over UDP and TCP; only where the cluster is a Kubernetes one. */
        dnsPort: port.default(15053),
        statusAddress: address.default('127.0.0.1'),
        statusPort: port.default(15014),
        /** Names and addresses at which proxies dial, beside relay.isthmus-system.svc. */
        names: z.array(z.string().max(253)).max(8).default([]),
      })
      .prefault({}),
    /**
     * `beacons`: addresses outside of the mesh (`host:port`) that take connections while this cluster has a network. Asked
     * where one other cluster alone is imported from, to tell its death from this cluster's own.
     */
    health: z.strictObject({ beacons: z.array(beacon).max(8).default([]) }).prefault({}),
    /** `issuer` and `jwks`: as the API server says, where the cluster is a Kubernetes one and these do not say otherwise. */
    tokens: z
      .strictObject({
        issuer: z.string().min(1).optional(),
        audience: z.string().min(1).default('istio-ca'),
        jwks: z.string().optional(),
      })
      .prefault({}),
    /** Where the cluster's objects come from its API server, and not from `manifests`. */
    kubernetes: kubernetesSchema.optional(),
    manifests: z.string().default('manifests'),
    state: z.string().default('state'),
  })
  .superRefine(({ kubernetes, tokens }, context) => {
    if (kubernetes === undefined && tokens.issuer === undefined)
      context.addIssue({
        code: 'custom',
        path: ['tokens', 'issuer'],
        message: 'is missing: who signs the tokens of pods',
      })
  })
export type RelaySettings = z.infer<typeof settingsSchema>

/** Throws `invalid` with every violation; the detail names the file. */
export function loadRelaySettings(path: string): RelaySettings {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Problem(
      'not-found',
      `there are no relay settings at ${path}: write cluster, region, network and tokens there`,
      { cause },
    )
  }
  let value: unknown
  try {
    value = load(text)
  } catch (cause) {
    // Its message repeats lines of the file; the reason does not.
    const reason =
      cause instanceof YAMLException ? `${cause.reason}, line ${(cause.mark?.line ?? 0) + 1}` : 'unreadable'
    throw new Problem('invalid', `${path} is not YAML: ${reason}`)
  }
  const parsed = settingsSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const violations = parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), reason: issue.message }))
  throw new Problem('invalid', `${path}: ${violations.map((v) => `${v.path || 'settings'}: ${v.reason}`).join('; ')}`, {
    violations,
  })
}
