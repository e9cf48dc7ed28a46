import type { Logger } from 'pino'
import type { RelaySettings } from '#gateway/settings.ts'
import { bringShared, offerShared, replaceShared, type SharedState } from '#gateway/shared-state.ts'
import { joinCentre } from '#gateway/uplink/join.ts'
import { loadMembership, loadOrMakeRelayKey, type Membership } from '#gateway/uplink/membership.ts'
import { relayVersion } from '#gateway/version.ts'
import { Problem } from '#mesh/model/problem.ts'

const retryMs = 2000

export type Joining = {
  readonly dir: string
  readonly stateDir: string
  readonly settings: RelaySettings
  /** The join token, where there is one now. */
  readonly token: () => string | undefined
  readonly log: Logger
  /** Where this is one of several replicas: they join as one. */
  readonly shared?: SharedState | undefined
}

/**
 * Joins, and keeps trying while the centre cannot be reached or the own disk takes nothing; each reason is logged once.
 * Replicas that share their state join as one: with one key, and none of them again what another did. They wait for a
 * token too. `pause` does not come back where the relay was stopped. Throws `invalid` where there is no token, and what
 * the centre says of one that it refuses.
 */
export async function joinUntilMember(joining: Joining, pause: (ms: number) => Promise<void>): Promise<Membership> {
  return await until(
    joining,
    pause,
    async () => (await broughtMembership(joining)) ?? (await joinOnce(joining, offerShared)),
  )
}

/** The same for a relay that is a member no more: what it was before counts for nothing. */
export const joinAnew = (joining: Joining, pause: (ms: number) => Promise<void>): Promise<Membership> =>
  until(joining, pause, () => joinOnce(joining, replaceShared))

async function until(
  { log }: Joining,
  pause: (ms: number) => Promise<void>,
  join: () => Promise<Membership>,
): Promise<Membership> {
  for (let lastFault = ''; ; ) {
    try {
      return await join()
    } catch (error) {
      const waits = error instanceof Problem && (error.kind === 'unavailable' || error.extra['waits'] === true)
      if (!waits) throw error
      if (error.message !== lastFault) log.warn({ err: error.message }, 'not joined yet; tried again every two seconds')
      lastFault = error.message
      await pause(retryMs)
    }
  }
}

/** Another replica joined. */
async function broughtMembership({ stateDir, shared }: Joining): Promise<Membership | undefined> {
  if (!shared) return undefined
  await bringShared(shared, stateDir)
  return loadMembership(stateDir)
}

/** `share`: of replicas that join at once the first one’s answer is everybody's; one that joins anew has the last word. */
async function joinOnce(
  { dir, stateDir, settings, token, shared }: Joining,
  share: typeof offerShared,
): Promise<Membership> {
  const { cluster, network, region } = settings
  const given = token()
  if (given === undefined) throw tokenless(dir, settings, shared !== undefined)
  if (shared) {
    loadOrMakeRelayKey(stateDir)
    await offerShared(shared, stateDir, 'relay-key.pem')
  }
  const membership = await joinCentre({
    ...{ token: given, dir: stateDir, cluster, network, region, version: relayVersion },
  })
  if (!shared) return membership
  await share(shared, stateDir, 'membership.json')
  return loadMembership(stateDir) ?? membership
}

const tokenless = (dir: string, { cluster }: RelaySettings, waits: boolean): Problem =>
  new Problem(
    'invalid',
    `the relay in ${dir} has not joined yet and no join token was given: ` +
      `make one with "isthmus token create ${cluster}" and ${waits ? 'put it where --join-file says' : 'start with --join <token>'}`,
    { extra: { waits } },
  )
