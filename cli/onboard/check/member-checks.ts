import { type Check, fail, of, ok, unknown, type Verdict, warn } from '#cli/onboard/check/check.ts'
import type { CheckFacts, InstalledFact, MemberFact, RolloutFact, TrustFact } from '#cli/onboard/check/facts.ts'
import { someOf } from '#mesh/model/some-of.ts'

const silentMs = 3 * 60_000
const leaseMs = 60_000

/** How an installation stands, in the cluster and at the centre. */
export const memberChecks: readonly Check[] = [
  {
    id: 'relay-ready',
    ...{ looksAt: 'the Deployment of the relay', pre: false },
    why: 'without a relay nothing that changes reaches the proxies of this cluster',
    judge: (facts) => installed(facts, ({ relay }) => rolloutVerdict('relay', relay)),
  },
  {
    id: 'gateway-ready',
    ...{ looksAt: 'the Deployment of the east-west gateway', pre: false },
    why: 'through it the other clusters reach what this one exports',
    judge: (facts) => installed(facts, ({ gateway }) => rolloutVerdict('eastwest-gateway', gateway)),
  },
  {
    id: 'relay-rights',
    ...{ looksAt: 'what the relay’s service account may do (SubjectAccessReview)', pre: false },
    why: 'what it may not read it does not know, and reports nothing at all',
    judge: (facts) =>
      installed(facts, ({ missingRules }) =>
        of(missingRules, (missing) =>
          missing.length === 0
            ? ok('all that it is shipped with')
            : fail(`it may not: ${someOf(missing)}`, 'repeat the join, or apply: isthmus manifests'),
        ),
      ),
  },
  {
    id: 'member',
    ...{ looksAt: 'the cluster’s state at the centre', pre: false },
    why: 'only a member is served, and only a member’s exports are offered',
    judge: (facts) =>
      member(facts, ({ name, state }) =>
        state === 'joined' ? ok(`${name} is a member`) : fail(`${name} is ${state}`, `isthmus cluster join ${name}`),
      ),
  },
  {
    id: 'heard',
    ...{ looksAt: 'when the centre last heard the relay', pre: false },
    why: 'what a silent relay last said stays in force, however wrong it has become',
    judge: (facts) =>
      member(facts, ({ name, lastSeenAt }) => {
        if (lastSeenAt === undefined) return fail(`${name} was never heard`, logs('relay'))
        const { health } = facts.centre
        const ms = Math.max(0, facts.now + ('value' in health ? health.value.aheadMs : 0) - lastSeenAt)
        const found = `${Math.round(ms / 1000)} s ago`
        return ms > silentMs ? fail(found, `${logs('relay')}; does it reach the centre?`) : ok(found)
      }),
  },
  {
    id: 'one-relay',
    ...{ looksAt: 'relays that report under this name, and the Lease of its replicas', pre: false },
    why: 'two that report in turn undo each other: endpoints come and go',
    judge: oneRelayVerdict,
  },
  {
    id: 'reports-taken',
    ...{ looksAt: 'conditions of the cluster at the centre', pre: false },
    why: 'a report that is refused changes nothing elsewhere',
    judge: (facts) =>
      member(facts, ({ conditions }) => {
        const bad = conditions.filter(
          ({ type, status }) => ['ReportTaken', 'Confined'].includes(type) && status === 'False',
        )
        return bad.length === 0
          ? ok('all are taken')
          : warn(
              someOf(
                bad.map(({ message }) => message),
                2,
              ),
              'isthmus status',
            )
      }),
  },
  {
    id: 'relay-version',
    ...{ looksAt: 'the versions of relay and centre', pre: false },
    why: 'a relay that is older than what it is told leaves out what it does not know',
    judge: (facts) =>
      member(facts, ({ relayVersion }) =>
        of(facts.centre.health, ({ version }) =>
          relayVersion === version
            ? ok(`both ${version}`)
            : warn(
                `relay ${relayVersion || '–'}, centre ${version}`,
                'repeat the join with the images of that version',
              ),
        ),
      ),
  },
  {
    id: 'join-token',
    ...{ looksAt: 'the Secret relay-join', pre: false },
    why: 'a token that has served its purpose is a secret too many',
    judge: (facts) =>
      installed(facts, ({ hasJoinToken, cluster }) =>
        of(hasJoinToken, (has) =>
          has
            ? warn('it is there still', `isthmus cluster join ${cluster} takes it away once the relay has joined`)
            : ok('it is gone'),
        ),
      ),
  },
  {
    id: 'gateway-address',
    ...{ looksAt: 'addresses of the Service eastwest-gateway, and those that the centre knows', pre: false },
    why: 'without an address no other cluster can call this one',
    judge: gatewayAddressVerdict,
  },
  {
    id: 'gateway-reachable',
    ...{ looksAt: 'what relays of other members say of this cluster’s gateways', pre: false },
    why: 'a gateway that others do not reach is one that they do not use',
    judge: reachableVerdict,
  },
  {
    id: 'clusterset-dns',
    ...{ looksAt: 'the ConfigMap of CoreDNS', pre: false },
    why: 'without it names of the cluster set resolve only where the Service exists',
    judge: (facts) =>
      installed(facts, ({ relayIp }) =>
        of(facts.kube.corefile, (text) => {
          const [, block] = /(?:^|\s)clusterset\.local(?::53)?\s*\{([^}]*)/.exec(text) ?? []
          const stub = `clusterset.local:53 { forward . ${relayIp ?? '<cluster IP of Service isthmus-system/relay>'} }`
          if (block === undefined) return warn('it does not know clusterset.local', `add to its Corefile: ${stub}`)
          return relayIp === undefined || block.includes(relayIp)
            ? ok('clusterset.local goes to the relay')
            : fail(`clusterset.local goes elsewhere:${block.replaceAll(/\s+/g, ' ')}`, `have it say: ${stub}`)
        }),
      ),
  },
  {
    id: 'issuing-certificate',
    ...{ looksAt: 'the certificate of the cluster’s issuing CA', pre: false },
    why: 'when it ends, no workload of this cluster is given a certificate any more',
    judge: (facts) =>
      trust(facts, ({ issuing }) => {
        if (!issuing) return fail('it has none', `${logs('relay')} says why it asks for none`)
        const found = `${issuing.standing}, until ${issuing.notAfter}`
        if (['fresh', 'renew'].includes(issuing.standing)) return ok(found)
        return (issuing.standing === 'warn' ? warn : fail)(found, `${logs('relay')} says why it is not renewed`)
      }),
  },
  {
    id: 'trust-bundle',
    ...{ looksAt: 'with which bundle of roots the proxies of this cluster work', pre: false },
    why: 'who has an old one refuses new certificates, and takes revoked ones',
    judge: (facts) =>
      trust(facts, ({ bundle }) => {
        if (!bundle) return unknown('the relay has not said')
        if (bundle.fault !== undefined) return fail(bundle.fault, 'isthmus trust show')
        if (bundle.behind) return warn('the relay has not taken the newest one yet', 'isthmus trust show')
        return bundle.acked >= bundle.proxies
          ? ok(`the newest, in all of ${bundle.proxies} proxies`)
          : warn(
              `${bundle.proxies - bundle.acked} of ${bundle.proxies} proxies have an older one: ${someOf(bundle.missing, 3)}`,
              'isthmus proxies says what keeps them',
            )
      }),
  },
]

const logs = (name: string): string => `kubectl -n isthmus-system logs deployment/${name}`

/** The judgement of an installation; there must be one. */
function installed(facts: CheckFacts, judge: (one: InstalledFact) => Verdict): Verdict {
  return of(facts.kube.installed, (found) =>
    found === undefined ? fail('nothing is installed', 'isthmus cluster join <name>') : judge(found),
  )
}

function member(facts: CheckFacts, judge: (one: MemberFact) => Verdict): Verdict {
  return named(facts, (name) =>
    of(facts.centre.members, (members) => {
      const one = members.find((known) => known.name === name)
      return one === undefined ? fail(`the centre knows no ${name}`, `isthmus cluster join ${name}`) : judge(one)
    }),
  )
}

function trust(facts: CheckFacts, judge: (one: TrustFact) => Verdict): Verdict {
  return named(facts, (name) =>
    of(facts.centre.trust, (all) => {
      const one = all.find(({ cluster }) => cluster === name)
      return one === undefined ? fail(`the centre vouches for no ${name}`, `isthmus get clusters ${name}`) : judge(one)
    }),
  )
}

const named = ({ kube }: CheckFacts, judge: (cluster: string) => Verdict): Verdict =>
  of(kube.installed, (found) =>
    found === undefined ? unknown('nothing is installed that would say which cluster it is') : judge(found.cluster),
  )

function rolloutVerdict(name: string, { ready, wanted, isDone, why, mend }: RolloutFact): Verdict {
  const found = `${ready}/${wanted}${why === undefined ? '' : `: ${why}`}`
  if (isDone) return wanted === 1 ? warn(found, 'run two: with one, a node that goes takes it along') : ok(found)
  const fix = mend ?? `kubectl -n isthmus-system describe deployment ${name}`
  return (ready > 0 ? warn : fail)(found, fix)
}

function oneRelayVerdict(facts: CheckFacts): Verdict {
  const twice = member(facts, ({ conditions }) => {
    const rival = conditions.find(({ type, status }) => type === 'OneRelay' && status === 'False')
    return rival ? fail(rival.message, 'end one of the two installations') : ok('')
  })
  if (twice.result !== 'ok') return twice
  return installed(facts, ({ lease, relayPods }) =>
    of(lease, (held) => {
      if (held === undefined) return fail('no replica has the Lease isthmus-system/relay', logs('relay'))
      const { aheadMs } = facts.kube
      const ms = facts.now + ('value' in aheadMs ? aheadMs.value : 0) - held.renewedAt
      if (ms > leaseMs)
        return fail(`${held.holder} had the Lease ${Math.round(ms / 1000)} s ago, nobody since`, logs('relay'))
      return relayPods.some((pod) => held.holder.includes(pod))
        ? ok(`${held.holder} reports`)
        : fail(`${held.holder} has the Lease, and is none of its pods`, 'another relay runs with this Lease: end it')
    }),
  )
}

function gatewayAddressVerdict(facts: CheckFacts): Verdict {
  return installed(facts, ({ addresses, cluster }) =>
    of(facts.centre.gateways, (all) => {
      const told = all.filter((one) => one.cluster === cluster)
      const ready = told.filter(({ state }) => state === 'ready')
      const fix = 'kubectl -n isthmus-system describe service eastwest-gateway; or --gateway-address <address>'
      if (addresses.length === 0 && told.length === 0) return fail('it has none: no load balancer was given to it', fix)
      if (told.length === 0) return fail(`${someOf(addresses)}, and the centre knows none`, logs('relay'))
      const said = someOf(told.map(({ address, port, state }) => `${address}:${port} ${state}`))
      return ready.length === 0 ? fail(said, logs('eastwest-gateway')) : ok(said)
    }),
  )
}

function reachableVerdict(facts: CheckFacts): Verdict {
  return of(facts.sights, (sights) => {
    if (sights.length === 0) return unknown('the context names no relay of another member: isthmus context add --relay')
    const blind = sights.filter(({ down }) => down.length > 0)
    if (blind.length === 0) return ok(`from ${someOf(sights.map(({ from }) => from))}`)
    const text = blind.map(({ from, down, phase }) => `${from} does not reach ${someOf(down, 2)} (${phase})`)
    const fix =
      'let port 15443 through: security groups, the load balancer’s source ranges, routes between the networks'
    return fail(someOf(text, 3), fix)
  })
}
