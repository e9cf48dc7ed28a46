import type { Follower, Phase } from '#gateway/watch/kube-follow.ts'
import type { RejectionLog } from '#gateway/watch/rejections.ts'
import type { RejectedObject } from '#mesh/model/view.ts'

/** What keeps kinds from being followed, as status shows it. */
export const faultsOf = (followers: readonly Follower[]): RejectedObject[] =>
  followers.flatMap(({ kind, fault }) => {
    const reason = fault()
    return reason === undefined ? [] : [{ at: kind.resource, object: kind.kind, reason }]
  })

/** Says of each kind once that it is not followed, however often it is tried, and once that it is again. */
export function faultLog(log: RejectionLog | undefined): (followers: readonly Follower[]) => void {
  const said = new Map<string, Phase>()
  return (followers) => {
    for (const { kind, phase, fault } of followers) {
      const facts = { kind: kind.kind, err: fault() }
      if (facts.err !== undefined && said.get(kind.kind) !== phase()) {
        said.set(kind.kind, phase())
        log?.warn(facts, 'a kind of the Kubernetes API is not followed: what was known of it stays')
      } else if (phase() === 'following' && said.delete(kind.kind))
        log?.info({ kind: kind.kind }, 'a kind of the Kubernetes API is followed again')
    }
  }
}
