import { callCentre, listAll } from '#cli/call-centre.ts'
import { mended } from '#cli/commands/cluster.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { withNearName } from '#cli/near-name.ts'
import { cell, type Row } from '#cli/output.ts'

/** A cluster as the centre knows it. */
export type Member = {
  readonly state: string
  readonly trustDomain: string
  readonly generation: number
  readonly network: string
  /** Its relay reported of late. */
  readonly isHeard: boolean
}

/** The one mesh of the centre. */
export async function meshOf(centre: Centre): Promise<string> {
  const [mesh] = await listAll(centre, '/v1/meshes', 1)
  if (mesh) return cell(mesh['name'])
  throw refusal({
    kind: 'not-found',
    why: 'the centre has no mesh yet',
    on: centre.url,
    mend: 'start it: isthmus serve',
  })
}

/**
 * Registers a cluster, or finds it as it is; with `dryRun` it is what would be. Throws `conflict` where it is elsewhere or
 * revoked, `invalid` for a name that cannot be.
 */
export async function registered(
  centre: Centre,
  {
    name,
    region,
    network,
    dryRun,
  }: { readonly name: string; readonly region: string; readonly network: string; readonly dryRun: boolean },
): Promise<Member & { readonly isNew: boolean }> {
  const path = `/v1/clusters/${encodeURIComponent(name)}${dryRun ? '?dryRun=true' : ''}`
  const { body, status } = await mended(
    centre,
    { method: 'PUT', path, body: { region, network } },
    {
      ...{ conflict: `isthmus get clusters ${name}`, invalid: withNearName('isthmus cluster join', name) },
    },
  )
  return { ...memberFrom(body as Row), isNew: status === 201 }
}

/** Undefined where the centre has never heard of it. */
export async function memberOf(centre: Centre, name: string): Promise<Member | undefined> {
  const rows = (await listAll(centre, '/v1/clusters')).filter((row) => row['name'] === name)
  return rows[0] && memberFrom(rows[0])
}

const memberFrom = (row: Row): Member => ({
  ...{ state: cell(row['state']), trustDomain: cell(row['trustDomain']), generation: Number(row['generation']) },
  network: cell(row['network']),
  isHeard: conditionsOf(row).some(({ type, status }) => type === 'Heard' && status === 'True'),
})

export const conditionsOf = (row: Row): readonly Row[] =>
  Array.isArray(row['conditions']) ? (row['conditions'] as Row[]) : []

export type Token = { readonly token: string; readonly expiresAt: string }

export async function newToken(centre: Centre, name: string): Promise<Token> {
  const call = { method: 'POST', path: `/v1/clusters/${encodeURIComponent(name)}/join-tokens`, body: {} }
  const { token, expiresAt } = (await callCentre(centre, call)).body as Row
  return { token: cell(token), expiresAt: cell(expiresAt) }
}

/** Takes it out of the mesh: nothing of it is trusted from then on. Again: nothing happens. */
export const removed = (centre: Centre, name: string): Promise<unknown> =>
  mended(
    centre,
    { method: 'DELETE', path: `/v1/clusters/${encodeURIComponent(name)}` },
    { 'not-found': 'isthmus get clusters' },
  )

export type SeenGateway = {
  readonly address: string
  readonly port: number
  readonly state: string
  /** Clusters whose relays one of the gateways answered just now. */
  readonly reachedFrom: readonly string[]
}

/** Its gateways, as its relay reports them. */
export const gatewaysOf = async (centre: Centre, name: string): Promise<readonly SeenGateway[]> =>
  (await listAll(centre, `/v1/gateways?cluster=${encodeURIComponent(name)}`)).map((row) => ({
    ...{ address: cell(row['address']), port: Number(row['port']), state: cell(row['state']) },
    reachedFrom: textsIn(row['reachedFrom']),
  }))

const textsIn = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map(String) : [])

/** Other clusters whose calls cross the gateways of this one: they probe them. */
export async function callersThrough(
  centre: Centre,
  { name, network }: { readonly name: string; readonly network: string },
) {
  const [imports, clusters] = await Promise.all([
    listAll(centre, '/v1/service-imports'),
    listAll(centre, '/v1/clusters'),
  ])
  const elsewhere = new Set(clusters.filter((one) => one['network'] !== network).map((one) => one['name']))
  const callers = imports.filter((one) => one['cluster'] !== name && textsIn(one['sources']).includes(name))
  return [...new Set(callers.map((one) => cell(one['cluster'])))].filter((one) => elsewhere.has(one)).toSorted()
}
