import { isIPv4 } from 'node:net'
import { InvalidArgumentError, Option } from 'commander'
import { refusal } from '#cli/failure.ts'
import type { Environment } from '#cli/io.ts'
import { gatewayPort, type OnboardSettings } from '#cli/onboard/manifests/settings.ts'
import { gatewayAddressFault, gatewayAddressOf } from '#mesh/model/gateway-address.ts'
import { version } from '#mesh/model/version.ts'

export type AccessOptions = { readonly context?: string; readonly kubeconfig?: string }
/** An EKS cluster in the place of a context; `region` is then AWS's. */
export type EksOptions = {
  readonly eks?: string
  readonly region?: string
  readonly profile?: string
  readonly createAccessEntry?: boolean
}
export type PlaceOptions = { readonly region?: string; readonly network?: string; readonly clusterSetCidr?: string }
export type ImageOptions = { readonly registry?: string; readonly image?: string; readonly proxyImage?: string }
export type GatewayOptions = {
  readonly gatewayAddress?: OnboardSettings['gateway']['addresses']
  readonly gatewayReplicas: number
  readonly publicGateway?: boolean
}

export const accessOptions = (): readonly Option[] => [
  new Option('--context <context>', 'the cluster: a context of your kubeconfig (default: the current one)'),
  new Option('--kubeconfig <file>', 'another file than KUBECONFIG or ~/.kube/config'),
]

/** To look; `eksOptions` are to write as well. */
export const eksLookOptions = (): readonly Option[] => [
  new Option('--eks <cluster>', 'the cluster, by its name in EKS; with --region').conflicts(['context', 'kubeconfig']),
  new Option('--profile <name>', 'with --eks: a profile of the AWS configuration'),
]
export const eksOptions = (): readonly Option[] => [
  ...eksLookOptions(),
  new Option('--create-access-entry', 'with --eks: makes your access entry where the cluster does not know you'),
]
export const eksRegionOption = (): Option => new Option('--region <region>', 'with --eks: its AWS region')

export const placeOptions = (regionDefault: string): readonly Option[] => [
  new Option('--region <region>', `where it is, e.g. eu-west-1${regionDefault}`),
  new Option('--network <network>', 'clusters of one network reach each other’s pods (default: one of its own)'),
  new Option('--cluster-set-cidr <cidr>', 'IPv4 range of which imported services get addresses').argParser(cidr),
]

export const imageOptions = (): readonly Option[] => [
  new Option('--registry <registry>', 'where isthmus-relay and isthmus-proxy are pulled from (or ISTHMUS_REGISTRY)'),
  new Option('--image <image>', 'the relay’s image, instead'),
  new Option('--proxy-image <image>', 'the gateway’s image, instead'),
]

export const gatewayOptions = (): readonly Option[] => [
  new Option(
    '--gateway-address <address>',
    'of a load balancer made by hand, address[:port]; may be said again',
  ).argParser((text: string, before: OnboardSettings['gateway']['addresses'] = []) => [
    ...before,
    gatewayAddress(text),
  ]),
  new Option('--gateway-replicas <number>', 'pods of the gateway').argParser(replicas).default(2),
  new Option('--public-gateway', 'on EKS: a load balancer outside of the VPC as well'),
]

export const timeoutOption = (): Option =>
  new Option('--timeout <time>', 'how long each step may wait: 90s, 5m').argParser(seconds).default(300, '5m')

/** Images of this version. Throws `invalid` where nothing says from where. */
export function imagesOf({ registry, image, proxyImage }: ImageOptions, env: Environment): OnboardSettings['images'] {
  const [relay, proxy] = [image ?? imageIn('isthmus-relay', registry, env), proxyImage ?? proxyIn(registry, env)]
  if (relay !== undefined && proxy !== undefined) return { relay, proxy }
  throw noImage(relay === undefined ? 'relay' : 'gateway', '--image and --proxy-image')
}

/** The image of a sidecar. Throws `invalid` where nothing says from where. */
export function proxyImageOf({ registry, image }: ImageOptions, env: Environment): string {
  const found = image ?? proxyIn(registry, env)
  if (found !== undefined) return found
  throw noImage('sidecar', '--image')
}

const proxyIn = (registry: string | undefined, env: Environment) => imageIn('isthmus-proxy', registry, env)

function imageIn(name: string, registry: string | undefined, env: Environment): string | undefined {
  const from = (registry ?? env['ISTHMUS_REGISTRY'] ?? '').replace(/\/+$/, '')
  return from === '' ? undefined : `${from}/${name}:${version}`
}

const noImage = (what: string, flags: string) =>
  refusal({
    kind: 'invalid',
    why: `it is not said where the image of the ${what} is pulled from`,
    on: `the command line: no --registry, ISTHMUS_REGISTRY, ${flags}`,
    mend: 'push isthmus-relay and isthmus-proxy to a registry that the nodes reach, and name it: --registry <registry>',
  })

function gatewayAddress(text: string): { readonly address: string; readonly port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]+))(?::([0-9]{1,5}))?$/.exec(text) ?? []
  const address = gatewayAddressOf(bracketed ?? plain ?? text)
  const port = digits === undefined ? gatewayPort : Number(digits)
  const fault = gatewayAddressFault(address)
  if (fault !== undefined) throw new InvalidArgumentError(`"${text.slice(0, 80)}" ${fault}`)
  if (port < 1 || port > 65_535) throw new InvalidArgumentError('the port is one from 1 to 65535')
  return { address, port }
}

function replicas(text: string): number {
  if (/^[1-9]\d?$/.test(text)) return Number(text)
  throw new InvalidArgumentError('give a number from 1 to 99')
}

function cidr(text: string): string {
  const [address = '', bits = ''] = text.split('/')
  if (isIPv4(address) && /^(1[0-9]|2[0-8]|[89])$/.test(bits)) return text
  throw new InvalidArgumentError('give an IPv4 range as 240.100.0.0/16, from /8 to /28')
}

/** `90`, `90s`, `5m`, `1h` as seconds. */
export function seconds(text: string): number {
  const [, digits, unit = 's'] = /^(\d{1,5})(s|m|h)?$/.exec(text) ?? []
  const found = Number(digits) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h']
  if (digits === undefined || found > 86_400)
    throw new InvalidArgumentError('give seconds, or a time as 90s, 5m, 1h; a day at most')
  return found
}
