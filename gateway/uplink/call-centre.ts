import type { z } from 'zod'
import type { Call, CentreClient } from '#gateway/uplink/centre-client.ts'
import type { Session } from '#gateway/uplink/session.ts'
import type { Standing } from '#gateway/uplink/standing.ts'
import { Problem } from '#mesh/model/problem.ts'

/** One call with the relay's access token. Throws the centre's problem, or `unavailable`. */
export type CallCentre = <T>(path: string, body: unknown, schema: z.ZodType<T>, method?: 'POST' | 'PUT') => Promise<T>

/**
 * How long the line may be silent. Short, so that a dead connection is soon replaced; patient with a centre that is known
 * to be there and slow.
 */
export const silenceMs = { usual: 3000, patient: 15_000 } as const

/**
 * Calls that know how the line stands. While the centre is away each call knocks first, so that it is known within a
 * moment of its return; a token that is refused is replaced once before anybody is told.
 */
export function callCentre(parts: {
  readonly client: CentreClient
  readonly session: Session
  readonly standing: Standing
}): CallCentre {
  const { client, session, standing } = parts
  let timeoutMs: number = silenceMs.usual
  return async (path, body, schema, method = 'POST') => {
    const knocked = standing.state() === 'away'
    if (knocked) await client.knock()
    const started = performance.now()
    try {
      const answer = await attempt({ path, body, schema, method })
      if (performance.now() - started < silenceMs.usual) timeoutMs = silenceMs.usual
      standing.heard()
      return answer
    } catch (error) {
      if (knocked && isTimeout(error)) timeoutMs = silenceMs.patient
      throw error
    }
  }

  async function attempt<T>(call: Call<T>, again = false): Promise<T> {
    const { token } = await session.token()
    try {
      return await client.call({ ...call, token, timeoutMs })
    } catch (error) {
      if (!(error instanceof Problem) || error.kind !== 'unauthenticated') throw error
      session.forget(token)
      if (again) throw error
      return attempt(call, true)
    }
  }
}

const isTimeout = (error: unknown): boolean =>
  error instanceof Problem && (error.cause as { code?: string } | undefined)?.code === 'ETIMEDOUT'
