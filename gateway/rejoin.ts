import { type Joining, joinAnew } from '#gateway/join-until-member.ts'
import type { Pauses } from '#gateway/pauses.ts'
import type { Condition } from '#mesh/model/cluster-config.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

export type Rejoin = {
  /** The centre does not take this relay for a member, or it cannot prove that it is one: a join token, where there is one, is tried. */
  refused(reason: string): void
  /** What a person is to do about it, once `refused` was called. */
  conditions(): readonly Condition[]
}

/**
 * What a relay does that was a member and is one no more (its cluster was removed, its key replaced or lost): it spends
 * the join token that it was started with, once, and otherwise names the step that mends it. Meanwhile it serves.
 */
export function openRejoin(parts: () => Joining, pauses: Pauses, joined: () => Promise<void>): Rejoin {
  const { settings, dir, log } = parts()
  let spent: string | undefined
  let reason: string | undefined
  let tokenFault = ''
  const message = () => {
    const { cluster } = settings
    const again = `${tokenFault ? 'another' : 'a'} token (isthmus token create ${cluster})`
    return (
      `${reason}${tokenFault}: its own pods are served, and nothing is told to other clusters or heard of them. Make ` +
      `${again} and start it with that: isthmus relay --dir ${shellWord(dir)} --join <token>. Where the cluster was removed, ` +
      `bring it back first: isthmus cluster create ${cluster}`
    )
  }
  const say = () => log.warn({ cluster: settings.cluster }, message())

  async function spend(given: string): Promise<void> {
    log.info({ reason }, 'no member any more: joining anew with the token given')
    try {
      await joinAnew({ ...parts(), token: () => given }, pauses.pause)
      reason = undefined
      if (!pauses.ended()) await joined()
    } catch (error) {
      tokenFault = `, and the join token given does not help (${(error as Error).message})`
      say()
    }
  }

  return {
    refused: (why) => {
      const before = reason
      reason = why
      const given = parts().token()
      const isNew = given !== undefined && given !== spent
      spent = given ?? spent
      if (isNew) void spend(given)
      else if (before !== why) say()
    },
    conditions: () => {
      const object = `cluster ${settings.cluster}`
      return reason === undefined ? [] : [{ type: 'NotAMember', reason: 'Refused', message: message(), object }]
    },
  }
}
