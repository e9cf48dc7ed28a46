import { loadFleet } from '#control/load-fleet.ts'
import type { Tx } from '#control/store/database.ts'
import { lockTrustHead, moveTrustHead } from '#control/store/trust-heads.ts'
import { compile } from '#mesh/compile/compile.ts'
import type { MeshName } from '#mesh/model/id.ts'
import { isHttp } from '#mesh/model/service.ts'

/** The number of the next revocation, by which relays end what is open. */
export async function nextCut(tx: Tx, mesh: MeshName): Promise<number> {
  const head = await lockTrustHead(tx, mesh, 'cuts')
  const cut = head.seq + 1
  await moveTrustHead(tx, { ...head, seq: cut })
  return cut
}

/**
 * Where connections of the trust domain may be open, for `Fleet.cuts`: the exports that admit it and its own cluster's
 * (`<cluster>/<ns>/<svc>`), and who calls what it offers (`<cluster>:<ns>/<svc>`, and by HTTP port `<cluster>:<port>`).
 */
export async function placesOpenTo(tx: Tx, mesh: MeshName, trustDomain: string): Promise<string[]> {
  const configs = compile(await loadFleet(tx, mesh, new Map()))
  const places = [...configs].flatMap(([cluster, { trust, exports, imports }]) => [
    ...[...exports]
      .filter(([, { admitted, foreign = [] }]) =>
        [trust.trustDomain, ...admitted, ...foreign].some((one) => one === trustDomain),
      )
      .map(([service]) => `${cluster}/${service}`),
    ...[...imports].flatMap(([service, { ports, sources }]) =>
      sources
        .filter((source) => source.trustDomain === trustDomain)
        .flatMap((source) => [
          `${cluster}:${service}`,
          ...ports
            .filter(({ port, protocol }) => isHttp(protocol) && source.ports.includes(port))
            .map(({ port }) => `${cluster}:${port}`),
        ]),
    ),
  ])
  return [...new Set(places)]
}
