import type { Logger } from 'pino'
import type { RelaySettings } from '#gateway/settings.ts'
import { joinCentre } from '#gateway/uplink/join.ts'
import type { Membership } from '#gateway/uplink/membership.ts'
import { relayVersion } from '#gateway/version.ts'
import { Problem } from '#mesh/model/problem.ts'

const retryMs = 2000

export type Joining = {
  readonly dir: string
  readonly stateDir: string
  readonly settings: RelaySettings
  readonly token: string | undefined
  readonly log: Logger
}

/**
 * Joins, and keeps trying while the centre cannot be reached or the own disk takes nothing; each reason is logged once.
 * `pause` does not come back where the relay was stopped. Throws `invalid` where there is no token, and what the centre
 * says of one that it refuses.
 */
export async function joinUntilMember(
  { dir, stateDir, settings, token, log }: Joining,
  pause: (ms: number) => Promise<void>,
): Promise<Membership> {
  const { cluster, network, region } = settings
  if (token === undefined)
    throw new Problem(
      'invalid',
      `the relay in ${dir} has not joined yet and no join token was given: ` +
        `make one with "isthmus token create ${cluster}" and start with --join <token>`,
    )
  for (let lastFault = ''; ; ) {
    try {
      return await joinCentre({ token, dir: stateDir, cluster, network, region, version: relayVersion })
    } catch (error) {
      if (!(error instanceof Problem) || error.kind !== 'unavailable') throw error
      if (error.message !== lastFault) log.warn({ err: error.message }, 'not joined yet; tried again every two seconds')
      lastFault = error.message
      await pause(retryMs)
    }
  }
}
