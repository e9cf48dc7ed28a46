import fc from 'fast-check'
import type { CaseText } from '#mesh/translate/testdata/case.ts'

/** A small fleet as cluster a sees it. Ids keep services apart: `svc3` never contains `svc30`. */
export const fleet = fc
  .record({
    services: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 6 }),
    imports: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
    exports: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
    confirmed: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
    pods: fc.integer({ min: 0, max: 3 }),
    ready: fc.integer({ min: 0, max: 3 }),
    gateways: fc.integer({ min: 0, max: 3 }),
    tcp: fc.boolean(),
    headless: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
    perCluster: fc.uniqueArray(fc.integer({ min: 1, max: 9 }), { maxLength: 6 }),
  })
  .map((f): CaseText => {
    const port = (n: number) => (f.tcp && n % 3 === 0 ? `tcp ${7000 + n} tcp` : 'http 80 http')
    const name = (n: number) => `shop/svc${n}`
    const isHeadless = (n: number) => f.headless.includes(n)
    const asked = (n: number) => (f.perCluster.includes(n) ? ' per-cluster' : '')
    const own = (n: number) => f.services.includes(n) && f.exports.includes(n) && f.confirmed.includes(n)
    return {
      cluster: 'a',
      region: 'r1',
      services: Object.fromEntries(
        f.services.map((n) => [
          name(n),
          { ports: [port(n)], ...(isHeadless(n) ? { headless: true } : { ips: [`10.96.0.${n}`] }) },
        ]),
      ),
      pods: Object.fromEntries(
        f.services.flatMap((n) =>
          Array.from({ length: f.pods }, (_, i) => [
            `shop/svc${n}-${i}`,
            {
              ip: `127.21.${n}.${i + 1}`,
              account: `svc${n}`,
              ...(isHeadless(n) ? { hostname: `pod-${i}` } : {}),
              behind: { [name(n)]: { [f.tcp && n % 3 === 0 ? 'tcp' : 'http']: 8080 } },
            },
          ]),
        ),
      ),
      exports: f.exports.map((n) => `${name(n)}${asked(n)}`),
      config: {
        members: ['a', 'b', 'c'],
        imports: Object.fromEntries(
          [...new Set([...f.imports, ...f.services.filter(own)])].map((n) => [
            name(n),
            {
              ports: [port(n)],
              sources: [
                ...(own(n) ? [`a net-a r1 svc${n}${asked(n)}`] : []),
                ...(f.imports.includes(n) ? [`b net-b r1 svc${n}${asked(n)}`, `c net-c r2 svc${n}`] : []),
              ],
              tiers: [...(own(n) ? [{ a: 1 }] : []), ...(f.imports.includes(n) ? [{ b: 1, c: 1 }] : [])],
            },
          ]),
        ),
        exports: Object.fromEntries(f.confirmed.map((n) => [name(n), { ports: [port(n)], consumers: ['b'] }])),
      },
      summaries: {
        b: {
          gateways: Array.from({ length: f.gateways }, (_, i) => `127.22.0.${i + 2}:15443`),
          services: Object.fromEntries(
            f.imports.map((n) => [
              name(n),
              {
                counts: [`${f.tcp && n % 3 === 0 ? 7000 + n : 80} r1/ ${f.ready}/3`],
                ...(isHeadless(n) ? { podNames: ['pod-0', ...(f.ready > 1 ? ['pod-1'] : ['pod-1 away'])] } : {}),
              },
            ]),
          ),
        },
        c: { gateways: ['127.23.0.2:15443'] },
      },
      proxy: {
        id: 'sidecar~127.21.99.1~svc1-0.shop~shop.svc.cluster.local',
        account: 'svc1',
        metadata: { INTERCEPTION_MODE: 'NONE', ISTHMUS: { application: '127.21.99.2', outbound: '127.21.99.3' } },
      },
    }
  })

/** A sidecar without and with redirection, and a gateway. */
export const kinds: readonly Partial<CaseText['proxy']>[] = [
  {},
  { metadata: { INTERCEPTION_MODE: 'REDIRECT' } },
  { id: 'router~127.21.0.2~gw.shop~shop.svc.cluster.local', metadata: {} },
]
