import type { CentreClient } from '#gateway/uplink/centre-client.ts'
import { assertionOf, type Membership, type RelayKey } from '#gateway/uplink/membership.ts'
import type { Log } from '#gateway/uplink/standing.ts'
import { Problem } from '#mesh/model/problem.ts'
import { tokenAnswerSchema } from '#mesh/wire/join.ts'

/** An access token and when it ends, by this machine's clock. */
export type AccessToken = { readonly token: string; readonly expiresAt: number }

/** The relay's access token: fetched when first needed, again at three quarters of its life, and after a refusal. */
export type Session = {
  token(): Promise<AccessToken>
  /** Gives up this token, unless another has taken its place already. */
  forget(token: string): void
  /** How far this machine's clock is behind the centre's; 0 within 30 seconds. */
  clockSkewMs(): number
}

/** Less is the time that an answer travels, and harms nobody. */
const skewMsMin = 30_000

export function openSession(parts: {
  readonly client: CentreClient
  readonly membership: Membership
  readonly key: RelayKey
  readonly now: () => number
  readonly randomId: () => string
  readonly log: Log
}): Session {
  let held: (AccessToken & { readonly renewAt: number }) | undefined
  let asking: Promise<AccessToken> | undefined
  let skew = 0
  let told = false

  return {
    token: () => {
      if (held && parts.now() < held.renewAt) return Promise.resolve(held)
      asking ??= ask().finally(() => {
        asking = undefined
      })
      return asking
    },
    forget: (token) => {
      if (held?.token === token) held = undefined
    },
    clockSkewMs: () => skew,
  }

  async function ask(): Promise<AccessToken> {
    try {
      return await fetchToken()
    } catch (error) {
      // A clock that is off is the centre's to notice: its problem carries its own time, and the next assertion uses it.
      const time = error instanceof Problem ? error.extra['time'] : undefined
      if (typeof time !== 'number' || Math.abs(time - parts.now() - skew) < 1000) throw error
      skew = time - parts.now()
      return fetchToken()
    }
  }

  async function fetchToken(): Promise<AccessToken> {
    const assertion = assertionOf(parts.membership, parts.key, parts.now() + skew, parts.randomId())
    const answer = await parts.client.call({ path: '/v1/token', body: { assertion }, schema: tokenAnswerSchema })
    const now = parts.now()
    const off = answer.time - now
    skew = Math.abs(off) >= skewMsMin ? off : 0
    if (skew !== 0 && !told)
      parts.log.warn({ clockSkewMs: skew }, 'the clock of this machine is off, set it (NTP): the centre’s is used')
    told = skew !== 0
    held = {
      token: answer.accessToken,
      renewAt: now + answer.expiresInSeconds * 750,
      expiresAt: now + answer.expiresInSeconds * 1000,
    }
    return held
  }
}
