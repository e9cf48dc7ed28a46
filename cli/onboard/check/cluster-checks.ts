import { type Check, fail, of, ok, unknown, type Verdict, warn } from '#cli/onboard/check/check.ts'
import { anotherRelay, type CheckFacts, type DefinitionFact, type NodeFact } from '#cli/onboard/check/facts.ts'
import { cidrsOverlap } from '#mesh/model/cidr.ts'
import { someOf } from '#mesh/model/some-of.ts'

const minorMin = 30
const warnSkewMs = 60_000
/** What is signed is good for five minutes around its time. */
const failSkewMs = 5 * 60_000

/** What a cluster must be before it joins, and stay. */
export const clusterChecks: readonly Check[] = [
  {
    id: 'api-server',
    ...{ looksAt: 'whether the API server answers', pre: true },
    why: 'without it nothing of the cluster can be known or changed',
    judge: ({ kube, said }) =>
      'value' in kube.version
        ? ok(`${said} answers`)
        : fail(kube.version.unknown, 'look at the line to it, and at who you are there: kubectl auth whoami'),
  },
  {
    id: 'centre',
    ...{ looksAt: 'whether the centre answers', pre: true },
    why: 'it makes the token with which the cluster joins, and tells it of the others',
    judge: ({ centre }) =>
      'value' in centre.health ? ok('it answers') : fail(centre.health.unknown, 'isthmus status; isthmus context list'),
  },
  {
    id: 'kubernetes-version',
    ...{ looksAt: 'the version of the API server', pre: true },
    why: 'sidecars start before the containers and end after them, and containers can wait before they end, only from Kubernetes 1.30 on',
    judge: ({ kube }) =>
      of(kube.version, ({ text, major, minor }) =>
        major > 1 || minor >= minorMin
          ? ok(`Kubernetes ${text}`)
          : fail(`Kubernetes ${text}`, `upgrade the cluster to 1.${minorMin} or later`),
      ),
  },
  {
    id: 'api-rights',
    ...{ looksAt: 'what you may do in the cluster (SelfSubjectAccessReview)', pre: true },
    why: 'a join that may do a part would stop half-way',
    judge: ({ kube }) =>
      of(kube.missingRights, (missing) =>
        missing.length === 0
          ? ok('all that a join does')
          : fail(`not allowed: ${someOf(missing)}`, 'use a context with these rights: cluster-admin has them'),
      ),
  },
  {
    id: 'clock-cluster',
    ...{ looksAt: 'the API server’s clock beside this machine’s', pre: true },
    why: 'tokens and certificates of another time are refused',
    judge: ({ kube }) => of(kube.aheadMs, (ms) => clockVerdict('the API server', ms)),
  },
  {
    id: 'clock-centre',
    ...{ looksAt: 'the centre’s clock beside this machine’s', pre: true },
    why: 'what a relay signs is good for five minutes around the centre’s time',
    judge: ({ centre }) => of(centre.health, ({ aheadMs }) => clockVerdict('the centre', aheadMs)),
  },
  {
    id: 'clocks-apart',
    ...{ looksAt: 'the API server’s clock beside the centre’s', pre: true },
    why: 'the relay’s proof of who it is must be of the centre’s time',
    judge: ({ kube, centre }) =>
      of(kube.aheadMs, (cluster) =>
        of(centre.health, ({ aheadMs }) => clockVerdict('the cluster', cluster - aheadMs, 'the centre')),
      ),
  },
  {
    id: 'centre-version',
    ...{ looksAt: 'the versions of centre and command', pre: true },
    why: 'what one of them writes the other must understand',
    judge: ({ centre, version }) =>
      of(centre.health, (health) =>
        health.version === version
          ? ok(`both ${version}`)
          : warn(`centre ${health.version}, command ${version}`, `use the command of the centre’s version`),
      ),
  },
  {
    id: 'issuer',
    ...{ looksAt: 'the issuer of service account tokens, and its keys', pre: true },
    why: 'workloads prove who they are with these tokens',
    judge: ({ kube }) =>
      of(kube.issuer, ({ issuer, keys }) => {
        if (keys === 0)
          return fail(`${issuer} has no keys`, 'look at --service-account-issuer and its key of the API server')
        return URL.canParse(issuer) && new URL(issuer).protocol === 'https:'
          ? ok(`${issuer}, ${keys} ${keys === 1 ? 'key' : 'keys'}`)
          : fail(`"${issuer}" is no https URL`, 'set --service-account-issuer of the API server to one')
      }),
  },
  {
    id: 'nodes-ready',
    ...{ looksAt: 'nodes and whether they are ready', pre: true },
    why: 'relay and gateway need a node each, two to outlive one of them',
    judge: ({ kube }) =>
      of(kube.nodes, (nodes) => {
        const ready = nodes.filter((node) => node.ready)
        if (ready.length === 0)
          return fail(`none of ${nodes.length} is ready`, 'kubectl get nodes says why; add a node')
        return ready.length === 1
          ? warn('one node is ready', 'add a second one: relay and gateway go away together with this one')
          : ok(`${ready.length} of ${nodes.length} ready`)
      }),
  },
  {
    id: 'node-places',
    ...{ looksAt: 'region and zone labels of nodes', pre: true },
    why: 'calls stay near, and fail over in order, by the region and zone of pods',
    judge: ({ kube }) => of(kube.nodes, placesVerdict),
  },
  {
    id: 'node-architectures',
    ...{ looksAt: 'the architecture of nodes', pre: true },
    why: 'the images are for amd64 and arm64',
    judge: ({ kube }) => of(kube.nodes, architecturesVerdict),
  },
  {
    id: 'crd-versions',
    ...{ looksAt: 'the definitions of ServiceExport, ServiceImport and our own kinds', pre: true },
    why: 'an object of a version that is not served cannot be written or read',
    judge: ({ kube }) => of(kube.definitions, definitionsVerdict),
  },
  {
    id: 'other-agents',
    ...{ looksAt: 'Deployments that do what ours do', pre: true },
    why: 'two that write the same objects undo what the other does',
    judge: ({ kube }) =>
      of(kube.others, (others) => {
        if (others.length === 0) return ok('none')
        const relays = others.filter((one) => one.endsWith(anotherRelay))
        return relays.length > 0
          ? fail(someOf(relays), 'end it: isthmus cluster leave, or remove its Deployment')
          : warn(someOf(others), 'see to it that only one of them serves ServiceExports and writes ServiceImports')
      }),
  },
  {
    id: 'address-overlap',
    ...{ looksAt: 'ranges of pods, nodes, services and of the cluster set', pre: true },
    why: 'an address that is two things is reached as one of them only',
    judge: overlapVerdict,
  },
  {
    id: 'shared-network',
    ...{ looksAt: 'members of the same network', pre: false },
    why: 'in one network pods are called without a gateway: they must reach each other, at addresses of their own',
    judge: sharedNetworkVerdict,
  },
]

function clockVerdict(whose: string, aheadMs: number, than = 'this machine'): Verdict {
  const seconds = Math.round(Math.abs(aheadMs) / 1000)
  const found =
    seconds === 0
      ? 'less than a second apart'
      : `${whose} is ${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} ${than}`
  const fix = 'set the clocks (NTP) of both; timedatectl says whether one is set by the network'
  if (seconds * 1000 >= failSkewMs) return fail(found, fix)
  return seconds * 1000 >= warnSkewMs ? warn(found, fix) : ok(found)
}

function placesVerdict(nodes: readonly NodeFact[]): Verdict {
  const unlabelled = nodes.filter(({ region, zone }) => region === '' || zone === '')
  const regions = [...new Set(nodes.flatMap(({ region }) => (region === '' ? [] : [region])))].toSorted()
  const fix = 'kubectl label node <node> topology.kubernetes.io/region=<region> topology.kubernetes.io/zone=<zone>'
  if (regions.length > 1)
    return warn(`nodes are of ${regions.length} regions: ${someOf(regions)}`, 'say which one it is: --region <region>')
  if (unlabelled.length > 0) return warn(`without region or zone: ${someOf(unlabelled.map(({ name }) => name))}`, fix)
  return ok(`region ${regions[0] ?? '–'}, zones ${someOf([...new Set(nodes.map(({ zone }) => zone))].toSorted())}`)
}

function architecturesVerdict(nodes: readonly NodeFact[]): Verdict {
  const said = nodes.filter(({ architecture }) => architecture !== '')
  if (said.length === 0) return unknown('no node says its own')
  const odd = said.filter(({ architecture }) => !['amd64', 'arm64'].includes(architecture))
  const names = someOf(odd.map(({ name, architecture }) => `${name} (${architecture})`))
  if (odd.length === 0) return ok([...new Set(said.map(({ architecture }) => architecture))].toSorted().join(', '))
  return odd.length === nodes.length
    ? fail(`no node can run the images: ${names}`, 'add nodes of amd64 or arm64')
    : warn(`not on ${names}`, 'taint these nodes, or label workloads so that they run elsewhere')
}

const known: Readonly<Record<string, readonly string[]>> = {
  'serviceexports.multicluster.x-k8s.io': ['v1beta1', 'v1alpha1'],
  'serviceimports.multicluster.x-k8s.io': ['v1beta1', 'v1alpha1'],
  'globaltrafficpolicies.isthmus.dev': ['v1alpha1'],
  'samenessgroups.isthmus.dev': ['v1alpha1'],
}

function definitionsVerdict(definitions: readonly DefinitionFact[]): Verdict {
  const found = definitions.filter(({ name }) => Object.hasOwn(known, name))
  const young = found.filter(({ established }) => !established)
  if (young.length > 0)
    return fail(
      `not taken by the API server: ${someOf(young.map(({ name }) => name))}`,
      'kubectl describe crd says why: a name is another’s, or its schema is refused',
    )
  const odd = found.filter(({ name, versions }) => !versions.some((one) => known[name]?.includes(one)))
  if (odd.length > 0)
    return fail(
      someOf(odd.map(({ name, versions }) => `${name} serves ${versions.join(', ') || 'nothing'}`)),
      `have it serve ${[...new Set(odd.flatMap(({ name }) => known[name] ?? []))].join(' or ')}`,
    )
  const theirs = found.filter(({ ours }) => !ours).map(({ name }) => name)
  return ok(
    found.length === 0
      ? 'none yet: a join brings them'
      : `${found.length} served${theirs.length > 0 ? `; of others, left as they are: ${someOf(theirs)}` : ''}`,
  )
}

type Range = { readonly what: string; readonly cidr: string }

/** Whatever of these is known; that some is not known is no overlap. */
function overlapVerdict({ kube }: CheckFacts): Verdict {
  const nodes = 'value' in kube.nodes ? kube.nodes.value : []
  const services = 'value' in kube.serviceCidrs ? kube.serviceCidrs.value : []
  const set = 'value' in kube.installed ? kube.installed.value?.clusterSetCidr : undefined
  const pods = nodes.flatMap(({ podCidrs }) => podCidrs)
  if (pods.length === 0 && services.length === 0)
    return unknown('no range is told: nodes without podCIDRs, no ServiceCIDR')
  const kinds: readonly (readonly Range[])[] = [
    pods.map((cidr) => ({ what: 'pods', cidr })),
    services.map((cidr) => ({ what: 'services', cidr })),
    nodes.flatMap(({ addresses }) => addresses.map((one) => ({ what: 'nodes', cidr: single(one) }))),
    set === undefined ? [] : [{ what: 'the cluster set', cidr: set }],
  ]
  const clashes = kinds.flatMap((some, at) =>
    kinds
      .slice(at + 1)
      .flatMap((others) =>
        some.flatMap((one) =>
          others
            .filter(({ cidr }) => cidrsOverlap(one.cidr, cidr))
            .map((other) => `${one.cidr} of ${one.what} and ${other.cidr} of ${other.what}`),
        ),
      ),
  )
  return clashes.length === 0
    ? ok(`apart: ${kinds.flatMap((some) => (some[0] ? [some[0].what] : [])).join(', ')}`)
    : fail(someOf(clashes, 3), 'give one of them another range; of the cluster set: --cluster-set-cidr <cidr>')
}

const single = (address: string): string => `${address}/${address.includes(':') ? 128 : 32}`

function sharedNetworkVerdict({ kube, centre }: CheckFacts): Verdict {
  return of(kube.installed, (installed) => {
    if (!installed) return unknown('nothing is installed, so it is of no network yet')
    return of(centre.members, (members) => {
      const others = members.filter(
        ({ name, state, network }) => state === 'joined' && network === installed.network && name !== installed.cluster,
      )
      return others.length === 0
        ? ok(`network ${installed.network} is its alone`)
        : warn(
            `network ${installed.network} is also that of ${someOf(others.map(({ name }) => name))}`,
            'see to it that pods of both reach each other and have no address in common; else give each its own: --network',
          )
    })
  })
}
