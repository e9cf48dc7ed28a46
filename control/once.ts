import { type Caller, callerText } from '#control/caller.ts'
import type { Centre } from '#control/centre.ts'
import type { Tx } from '#control/store/database.ts'
import { loadAnswer, saveAnswer } from '#control/store/idempotency.ts'
import { canonicalJson, hashOf, type Json } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'

/** A request that may come again: who sends it, under which Idempotency-Key, and what it asks. */
export type Repeatable = {
  readonly caller: Caller
  readonly action: string
  /** Absent: the request is new each time. */
  readonly nonce?: string | undefined
  readonly request: Json
}

const rememberMs = 24 * 60 * 60_000

/**
 * The answer of `work`, or of the time before when the same caller sent the same under the same key within a day; the two
 * commit together. Answers hold no secrets. Throws `conflict` where the key was used for another request.
 */
export async function once<T extends Json>(
  centre: Centre,
  tx: Tx,
  asked: Repeatable,
  work: () => Promise<T>,
): Promise<T> {
  if (asked.nonce === undefined) return work()
  const key = `${callerText(asked.caller)} ${asked.action} ${asked.nonce}`.slice(0, 300)
  const request = hashOf(asked.request)
  const before = await loadAnswer(tx, centre.mesh, key)
  if (before && before.request !== request) throw usedOtherwise()
  if (before) return JSON.parse(before.answer) as T
  const answer = await work()
  const expiresAt = centre.now() + rememberMs
  await saveAnswer(tx, { mesh: centre.mesh, key, request, answer: canonicalJson(answer), expiresAt })
  return answer
}

export const usedOtherwise = (): Problem =>
  new Problem('conflict', 'this Idempotency-Key was used for another request: take a new key for a new request')
