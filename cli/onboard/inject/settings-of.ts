import { parse } from 'yaml'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import type { Environment } from '#cli/io.ts'
import { isShape, type Shape, shapeAt, textAt } from '#cli/onboard/inject/kube-shape.ts'
import type { InjectSettings } from '#cli/onboard/inject/settings.ts'
import { memberOf, meshOf } from '#cli/onboard/membership.ts'
import { type ImageOptions, proxyImageOf } from '#cli/onboard/options.ts'
import { readBounded } from '#cli/read-bounded.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { labelFault } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/** What the user says: flags win over the values of a file, and what is in neither is asked of the centre. */
export type InjectOptions = ImageOptions & {
  readonly cluster?: string
  readonly values?: string
  readonly mesh?: string
  readonly trustDomain?: string
  readonly network?: string
  readonly region?: string
  readonly cni?: boolean
}

type Said = Partial<Record<'cluster' | 'mesh' | 'trustDomain' | 'network' | 'region' | 'image', string>>

/** Throws `invalid` for what is said wrong, `not-found` for a cluster that the centre does not know. */
export async function settingsOf(
  options: InjectOptions,
  { centre, env }: { readonly centre: () => Centre; readonly env: Environment },
): Promise<InjectSettings> {
  const file = options.values === undefined ? {} : valuesIn(options.values)
  const { cluster, mesh, trustDomain, network, region } = { ...file, ...given(options) }
  if (cluster === undefined)
    throw refusal({
      kind: 'invalid',
      why: 'it is not said in which cluster the pods will run',
      on: 'the command line: neither --cluster nor --values',
      mend: 'name it: isthmus inject --cluster <cluster>; isthmus get clusters lists them',
    })
  const image = options.registry === undefined ? (options.image ?? file.image) : options.image
  const more = {
    ...(region === undefined ? {} : { region }),
    image: proxyImageOf({ ...options, ...(image === undefined ? {} : { image }) }, env),
    cni: options.cni === true,
  }
  if (mesh !== undefined && (network !== undefined || options.values !== undefined))
    return checked({
      ...{ cluster, mesh, trustDomain: trustDomain ?? `${cluster}.${mesh}`, network: network ?? cluster },
      ...more,
    })
  const known = await memberOf(centre(), cluster)
  if (!known)
    throw refusal({
      ...{ kind: 'not-found', why: `the centre knows no cluster ${cluster}`, on: centre().url },
      mend: `isthmus get clusters; or say all of it: --mesh <mesh> --network <network>`,
    })
  return checked({
    ...{ cluster, mesh: mesh ?? (await meshOf(centre())), trustDomain: trustDomain ?? known.trustDomain },
    ...{ network: network ?? known.network, ...more },
  })
}

const given = (options: InjectOptions): Said =>
  Object.fromEntries(
    (['cluster', 'mesh', 'trustDomain', 'network', 'region'] as const).flatMap((key) =>
      options[key] === undefined ? [] : [[key, options[key]]],
    ),
  )

/** A proxy would refuse them, in every pod. */
function checked(settings: InjectSettings): InjectSettings {
  const violations = (['cluster', 'mesh', 'network'] as const).flatMap((path) => {
    const reason = labelFault(settings[path])
    return reason === undefined ? [] : [{ path, reason: `"${settings[path].slice(0, 80)}" ${reason}` }]
  })
  const [first, ...others] = violations
  if (first === undefined) return settings
  const extra = { on: 'the command line', mend: 'give each as one DNS label: isthmus inject --help' }
  const why = others.length === 0 ? `the ${first.path} ${first.reason}` : 'these names cannot be'
  throw new Problem('invalid', why, { violations, extra })
}

const fileBytesMax = 256 * 1024

/** The values of the chart with which the cluster's relay was installed; those of them that a sidecar needs. */
function valuesIn(path: string): Said {
  const mend = 'name the values file of the chart of that cluster: --values <file>'
  let value: unknown
  try {
    value = parse(readBounded(path, fileBytesMax).toString('utf8'))
  } catch (cause) {
    const why = `the values cannot be read: ${isFileFault(cause) ? fileFault(cause) : (cause as Error).message.split('\n')[0]}`
    throw refusal({ kind: 'invalid', why, on: path, mend, cause })
  }
  if (!isShape(value)) throw refusal({ kind: 'invalid', why: 'the values are not a mapping', on: path, mend })
  const image = textAt(shapeAt(value, 'images'), 'proxy')
  return { ...texts(value), ...(image === '' ? {} : { image }) }
}

const texts = (value: Shape): Said =>
  Object.fromEntries(
    ['cluster', 'mesh', 'trustDomain', 'network', 'region'].flatMap((key) => {
      const text = textAt(value, key)
      return text === '' ? [] : [[key, text]]
    }),
  )

const isFileFault = (cause: unknown): boolean => typeof (cause as NodeJS.ErrnoException).syscall === 'string'
