import { mayUse } from '#mesh/compile/consumers.ts'
import { marketOf, type Offer } from '#mesh/compile/offer.ts'
import { settlePorts } from '#mesh/compile/ports.ts'
import { type Meant, nearTo } from '#mesh/foresee/meant-name.ts'
import { aboutCluster, aboutService, bad, good, unsure } from '#mesh/foresee/path.ts'
import type { Seen } from '#mesh/foresee/seen.ts'
import type { Step } from '#mesh/model/explanation.ts'
import { partsOf, type ServiceKey } from '#mesh/model/id.ts'
import { someOf } from '#mesh/model/some-of.ts'
import type { Callable } from '#mesh/translate/callable.ts'

/** What is known of the service that a name means. */
export type Offered = {
  readonly seen: Seen
  readonly meant: Meant
  /** All that the name means here, one for each port. */
  readonly named: readonly Callable[]
  readonly port: number | undefined
  /** Of the caller. */
  readonly namespace: string
  /** The centre's: everybody's offers of it, the oldest first. */
  readonly offers?: readonly Offer[]
}

export const offersAtCentre = ({ fleet }: Seen, key: ServiceKey): Pick<Offered, 'offers'> =>
  fleet ? { offers: marketOf(fleet).services.get(key) ?? [] } : {}

/** Whether the name means a service that somebody knows, and a part of it that may be named. */
export function nameStep({ seen, meant, named, offers, namespace }: Offered): Step {
  const { key, name, cluster, hostname } = meant
  const { view } = seen
  const imported = view.config?.imports.get(key)
  const isKnown = imported !== undefined || view.own.services.has(key) || (offers ?? []).length > 0
  const near = isKnown ? [] : nearTo(key, knownTo(seen))
  const [first] = near.map(partsOf)
  // To a relay a service may be unknown only because it may not be called from there.
  if (first && offers !== undefined)
    return bad('name', {
      saw: `nobody knows a service ${key}; there is ${someOf(near)}`,
      fix: `call ${first.name}.${first.namespace}, or look for it: isthmus services`,
      at: aboutService(key),
    })
  const own = partsOf(key).namespace
  if (
    !isKnown &&
    offers !== undefined &&
    own !== namespace &&
    ![...knownTo(seen)].some((one) => partsOf(one).namespace === own)
  )
    return bad('name', {
      saw: `${name} would be service ${key}, and nobody knows a service of namespace ${own}`,
      fix: 'look for it: isthmus services; calls to hosts outside of the mesh are not followed here',
      at: aboutService(key),
    })
  const source = imported?.sources.find((one) => one.cluster === cluster)
  if (source && !source.perCluster && hostname === undefined)
    return bad('name', {
      saw: `cluster ${cluster} offers ${key}, and not by a name of its own`,
      fix:
        'annotate its ServiceExport with isthmus.dev/per-cluster-name: "true", or call ' +
        `${partsOf(key).name}.${partsOf(key).namespace}`,
      at: aboutService(key),
    })
  if (hostname !== undefined && named.length === 0 && isKnown)
    return bad('name', {
      saw: `no pod ${hostname} of ${key} may be called by a name of its own`,
      fix: 'only pods of headless Services have names: look at its hostname and its Service',
      at: aboutService(key),
    })
  if (!isKnown && offers === undefined)
    return unsure(
      'name',
      `${name} would be service ${key}, of which nothing is known here${near.length > 0 ? `; there is ${someOf(near)}` : ''}`,
    )
  return good('name', `${name} is service ${key}`)
}

function knownTo(seen: Seen): readonly ServiceKey[] {
  const { own, config } = seen.view
  const exported = seen.fleet?.members.flatMap((member) => [...member.exports.keys()]) ?? []
  return [...own.services.keys(), ...(config?.imports.keys() ?? []), ...exported]
}

/** Whether somebody offers it, by a port of that number, with somebody behind it whom callers can verify. */
export function exportStep(offered: Offered): Step {
  const { seen, meant, named, offers } = offered
  const { key } = meant
  const { view } = seen
  const exporters = view.config?.imports.get(key)?.sources.map(({ cluster }) => cluster) ?? []
  if (named.length > 0) return portStep(offered)
  if (offers !== undefined) return offeredAtCentre(offered, offers)
  if (exporters.length === 0)
    return unsure('export', `no export of ${key} reaches this cluster; whether there is one, the centre knows`)
  const wanted = meant.cluster ?? 'the one that is named'
  return bad('export', {
    saw: `${someOf(exporters)} offer${exporters.length === 1 ? 's' : ''} ${key}, and ${wanted} does not`,
    fix: `call ${partsOf(key).name}.${partsOf(key).namespace}, or export it there`,
    at: aboutService(key),
  })
}

function portStep({ named, port, meant, seen }: Offered): Step {
  const { key } = meant
  const ports = named.map((callable) => callable.port.port)
  const [first] = named
  if (port === undefined && ports.length > 1)
    return bad('export', {
      saw: `${key} has ports ${someOf(ports)}, and none was named`,
      fix: `name one: ${meant.name}:${ports[0]}`,
      at: aboutService(key),
    })
  const found = port === undefined ? first : named.find((callable) => callable.port.port === port)
  if (!found) {
    const conflict = seen.view.config?.conditions.find(
      ({ type, object }) => type === 'Conflict' && object === aboutService(key),
    )
    return bad('export', {
      saw: `port ${port} of ${key} is not offered, only ${someOf(ports)}${conflict ? ` (${conflict.message})` : ''}`,
      fix: `call port ${ports[0]}, or add the port to the Service where it is exported`,
      at: aboutService(key),
    })
  }
  if (!found.road) return good('export', `a Service of the caller's own cluster, whose pods alone answer to this name`)
  const on = `port ${found.port.port} (${found.port.protocol})`
  return good('export', `offered on ${on} by ${someOf(found.road.sources.map(({ cluster }) => cluster))}`)
}

function offeredAtCentre({ meant, port, seen }: Offered, offers: readonly Offer[]): Step {
  const { key } = meant
  const { namespace, name } = partsOf(key)
  const at = aboutService(key)
  const names = offers.map(({ member }) => member.name)
  if (offers.length === 0) {
    const own = meant.name.endsWith('.cluster.local')
      ? `; a Service of ${seen.view.home.cluster} itself, if there is one, answers to its own callers all the same`
      : ''
    const fix = `write a ServiceExport ${name} into namespace ${namespace} of a cluster that has it`
    return bad('export', { saw: `no cluster exports ${key}${own}`, fix, at })
  }
  if (offers.every(({ identities }) => identities.length === 0))
    return bad('export', {
      saw:
        `${someOf(names)} export${names.length === 1 ? 's' : ''} ${key}, and no meshed pod was ever seen behind it, ` +
        'so no caller knows whom to trust',
      fix: 'label its pods security.istio.io/tlsMode=istio and give them a proxy',
      at,
    })
  const { ports } = settlePorts(seen.view.home.cluster, offers)
  if (port !== undefined && !ports.some((one) => one.port === port))
    return bad('export', {
      saw: `port ${port} of ${key} is not offered, only ${someOf(ports.map((one) => one.port))}`,
      fix: `call port ${ports[0]?.port}, or add the port to the Service where it is exported`,
      at,
    })
  if (meant.cluster !== undefined && !names.some((one) => one === meant.cluster))
    return bad('export', {
      saw: `${someOf(names)} export${names.length === 1 ? 's' : ''} ${key}, and ${meant.cluster} does not`,
      fix: `call ${name}.${namespace}, or export it in ${meant.cluster}`,
      at,
    })
  return good('export', `exported by ${someOf(names)}`)
}

/** Whether the caller's cluster may use it, and wants to. */
export function consumerStep({ seen, meant, named, offers }: Offered): Step {
  const { key } = meant
  const { view, revision } = seen
  const { cluster } = view.home
  const at = aboutService(key)
  if (named.length > 0 && named.every(({ road }) => road === undefined))
    return good('consumer', 'every caller of its own cluster may use it')
  if (view.own.refused.has(key))
    return bad('consumer', {
      saw: `${cluster} refuses to import ${key}`,
      fix: `take isthmus.dev/accept: "false" off the ServiceImport ${key} in ${cluster}, or delete that object`,
      at: aboutCluster(cluster),
    })
  if (named.length > 0) return good('consumer', `${cluster} may call it`)
  if (offers === undefined)
    return bad('consumer', {
      saw: view.config
        ? `no Service ${key} is here, and no export of it names ${cluster} (config revision ${revision ?? 'not known'})`
        : `no Service ${key} is here, and ${cluster} has heard nothing from the centre yet`,
      fix: view.config ? `export it to ${cluster}: isthmus exports --service ${key}` : 'isthmus status',
      at: view.config ? at : aboutCluster(cluster),
    })
  return consumerAtCentre({ seen, meant }, offers)
}

function consumerAtCentre({ seen, meant }: Pick<Offered, 'seen' | 'meant'>, offers: readonly Offer[]): Step {
  const { key } = meant
  const { cluster } = seen.view.home
  const open = offers.filter((one) => one.identities.length > 0 && mayUse(cluster, one.member.name, one.consumers))
  if (open.length > 0)
    return bad('consumer', {
      saw:
        `${someOf(open.map(({ member }) => member.name))} lets ${cluster} in, and its config of revision ` +
        `${seen.revision ?? 'none'} does not hold ${key} yet`,
      fix: 'wait a moment and ask again; where it stays so, the centre cannot publish: isthmus status',
      at: aboutCluster(cluster),
    })
  const [first] = offers
  const names = offers.map(({ member }) => member.name)
  const lists = first?.export.consumers
  const isOwnList = lists !== undefined && !lists.includes('*') && !lists.includes(cluster)
  const by = isOwnList ? 'its exporters' : 'the operator'
  return bad('consumer', {
    saw:
      `${someOf(names)} export${names.length === 1 ? 's' : ''} ${key}, and ${by} keep${isOwnList ? '' : 's'} ` +
      `${cluster} from using it`,
    fix: isOwnList
      ? `add ${cluster} to isthmus.dev/consumers of the ServiceExport ${key} in ${first?.member.name}`
      : `add ${cluster} to the consumers of service-exports ${key}: isthmus get service-exports --service ${key}`,
    at: aboutService(key),
  })
}
