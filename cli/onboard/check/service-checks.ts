import { type Check, fail, of, ok, type Verdict, warn } from '#cli/onboard/check/check.ts'
import type { CheckFacts, ExportFact, PortFact } from '#cli/onboard/check/facts.ts'
import { someOf } from '#mesh/model/some-of.ts'

/** What users have written: exports and imports. */
export const serviceChecks: readonly Check[] = [
  {
    id: 'exports-valid',
    ...{ looksAt: 'ServiceExports and their conditions', pre: false },
    why: 'what is not valid is not offered to anybody',
    judge: ({ kube }) =>
      of(kube.exports, (all) => {
        const lost = all.filter(({ exists }) => !exists).map(({ service }) => `${service} has no Service`)
        const bad = all.flatMap(({ service, faults }) => faults.map((one) => `${service}: ${one}`))
        return lost.length + bad.length === 0
          ? ok(`${all.length} ${all.length === 1 ? 'export' : 'exports'}`)
          : fail(
              someOf([...lost, ...bad], 3),
              'make the Service, or remove the ServiceExport: kubectl describe serviceexport',
            )
      }),
  },
  {
    id: 'exports-ready',
    ...{ looksAt: 'ready pods behind exported services', pre: false },
    why: 'a service without ready pods is offered, and answers nobody',
    judge: ({ kube }) =>
      each(kube, ({ exists, ready }) => exists && ready === 0, {
        good: (all) => `${all.reduce((sum, { ready }) => sum + ready, 0)} ready endpoints`,
        bad: 'no ready pods',
        fix: 'scale it up, or remove its ServiceExport; kubectl get endpointslices says what is not ready',
      }),
  },
  {
    id: 'exports-meshed',
    ...{ looksAt: 'pods of exported services without a proxy', pre: false },
    why: 'calls from other clusters go to pods with a proxy only',
    judge: ({ kube }) =>
      each(kube, ({ unmeshed }) => unmeshed.length > 0, {
        good: () => 'all have a proxy',
        bad: 'pods without a proxy',
        fix: 'give them one: isthmus inject -f <deployment> | kubectl apply -f -',
      }),
  },
  {
    id: 'port-protocols',
    ...{ looksAt: 'ports of exported services that say no protocol', pre: false },
    why: 'such a port is plain TCP: no retries, no traffic by weight, no request metrics',
    judge: ({ kube }) =>
      ports(kube, ({ declared }) => !declared, {
        bad: 'without a protocol',
        fix: 'name the port by it (http-web, grpc, tcp-…), or set appProtocol',
      }),
  },
  {
    id: 'permissive-server-first',
    ...{
      looksAt: 'exported ports on which the server speaks first, beside a PERMISSIVE PeerAuthentication',
      pre: false,
    },
    why: 'who takes both plain text and TLS waits for the caller’s first bytes: where the server speaks first, both wait',
    judge: ({ kube }) =>
      ports(kube, isServerFirst, {
        among: ({ permissive }) => permissive,
        bad: 'server-first and PERMISSIVE',
        fix: 'set that port’s mtls mode to STRICT (portLevelMtls) or to DISABLE',
      }),
  },
  {
    id: 'names-that-differ',
    ...{ looksAt: 'own Services of the names that others export', pre: false },
    why: 'own callers reach own pods of such a name only, and others reach the others’ only',
    judge: ({ kube, centre }) =>
      of(kube.unexported, (own) =>
        of(centre.imports, (imports) => {
          const both = imports.map(({ service }) => service).filter((service) => own.includes(service))
          return both.length === 0
            ? ok('none')
            : warn(
                `not exported here: ${someOf(both)}`,
                'export it here too if it is the same service; else rename one',
              )
        }),
      ),
  },
  {
    id: 'namespaces',
    ...{ looksAt: 'namespaces of services that others export', pre: false },
    why: 'a namespace is the same in all clusters; where it is missing no ServiceImport shows what could be called',
    judge: ({ kube, centre }) =>
      of(kube.namespaces, (own) =>
        of(centre.imports, (imports) => {
          const named = imports.map(({ service }) => service.split('/')[0] ?? '')
          const missing = [...new Set(named)].filter((one) => !own.includes(one)).toSorted()
          return missing.length === 0
            ? ok('all of them are here')
            : warn(
                `not here: ${someOf(missing)}`,
                `kubectl create namespace ${missing[0] ?? ''}, where they are to be called`,
              )
        }),
      ),
  },
]

type Words = { readonly bad: string; readonly fix: string }

function each(
  kube: CheckFacts['kube'],
  isBad: (one: ExportFact) => boolean,
  { good, bad, fix }: Words & { readonly good: (all: readonly ExportFact[]) => string },
): Verdict {
  return of(kube.exports, (all) => {
    const found = all.filter(isBad).map(({ service }) => service)
    return found.length === 0 ? ok(good(all)) : warn(`${bad}: ${someOf(found)}`, fix)
  })
}

function ports(
  kube: CheckFacts['kube'],
  isBad: (one: PortFact) => boolean,
  { bad, fix, among = () => true }: Words & { readonly among?: (one: ExportFact) => boolean },
): Verdict {
  return of(kube.exports, (all) => {
    const found = all
      .filter(among)
      .flatMap(({ service, ports }) => ports.filter(isBad).map(({ port }) => `${service}:${port}`))
    return found.length === 0 ? ok('none') : warn(`${bad}: ${someOf(found)}`, fix)
  })
}

/** Source: Istio, "Server First Protocols". */
const serverFirst = new Set([21, 22, 25, 110, 143, 587, 3306, 33060, 5222, 6667])
const isServerFirst = ({ port, name, protocol }: PortFact): boolean =>
  protocol === 'tcp' && (serverFirst.has(port) || /^(mysql|smtp|ftp|ssh|imap|pop3)/.test(name.toLowerCase()))
