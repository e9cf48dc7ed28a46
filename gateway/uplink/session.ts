import type { CentreClient } from '#gateway/uplink/centre-client.ts'
import { assertionOf, type Membership, type RelayKey } from '#gateway/uplink/membership.ts'
import { Problem } from '#mesh/model/problem.ts'
import { tokenAnswerSchema } from '#mesh/wire/join.ts'

/** The relay's access token: fetched when first needed, again at three quarters of its life, and after a refusal. */
export type Session = { token(): Promise<string>; forget(): void; clockSkewMs(): number }

export function openSession(parts: {
  readonly client: CentreClient
  readonly membership: Membership
  readonly key: RelayKey
  readonly now: () => number
  readonly randomId: () => string
}): Session {
  let held: { readonly token: string; readonly renewAt: number } | undefined
  let asking: Promise<string> | undefined
  let skew = 0

  return {
    token: () => {
      if (held && parts.now() < held.renewAt) return Promise.resolve(held.token)
      asking ??= ask().finally(() => {
        asking = undefined
      })
      return asking
    },
    forget: () => {
      held = undefined
    },
    clockSkewMs: () => skew,
  }

  async function ask(): Promise<string> {
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

  async function fetchToken(): Promise<string> {
    const assertion = assertionOf(parts.membership, parts.key, parts.now() + skew, parts.randomId())
    const answer = await parts.client.call({ path: '/v1/token', body: { assertion }, schema: tokenAnswerSchema })
    held = { token: answer.accessToken, renewAt: parts.now() + answer.expiresInSeconds * 750 }
    return answer.accessToken
  }
}
