import { Problem } from '#mesh/model/problem.ts'
import { centreOrigin, centreUrlFault } from '#mesh/wire/centre-url.ts'

/** What one join token holds: where to go, the secret, and the SHA-256 (hex) of the DER of the centre's CA certificate. */
export type JoinToken = {
  readonly url: string
  readonly token: string
  /** The cluster it was made for, so that a wrong relay is told before it calls anyone. */
  readonly cluster: string
  /** Absent where the centre has a publicly trusted certificate. */
  readonly caSha256?: string
}

const prefix = 'isthmus_join_'

export function formatJoinToken(token: JoinToken): string {
  return (
    prefix +
    Buffer.from(JSON.stringify({ u: token.url, t: token.token, c: token.cluster, h: token.caSha256 })).toString(
      'base64url',
    )
  )
}

/**
 * Reads a pasted token. Surrounding white space and line breaks inside (a terminal's wrapping) are forgiven. Throws
 * `invalid` that says what is wrong with it; the token itself is never quoted.
 */
export function parseJoinToken(pasted: string): JoinToken {
  const text = pasted.replace(/\s+/g, '')
  if (!text.startsWith(prefix))
    throw new Problem(
      'invalid',
      `this is not a join token: it must begin with "${prefix}"; make one with: isthmus token create <cluster>`,
    )
  let body: { u?: unknown; t?: unknown; c?: unknown; h?: unknown }
  try {
    body = JSON.parse(Buffer.from(text.slice(prefix.length), 'base64url').toString('utf8')) as typeof body
  } catch (cause) {
    throw new Problem('invalid', 'the join token is cut off or damaged: copy it again, whole', { cause })
  }
  if (typeof body.u !== 'string' || typeof body.t !== 'string' || typeof body.c !== 'string')
    throw new Problem('invalid', 'the join token is cut off or damaged: copy it again, whole')
  const fault = centreUrlFault(body.u)
  if (fault)
    throw new Problem(
      'invalid',
      `the join token names a URL that is no centre's: ${fault}; start the centre with --url https://<host>:<port>, ` +
        'then make a new token with: isthmus token create <cluster>',
    )
  if (body.h !== undefined && (typeof body.h !== 'string' || !/^[0-9a-f]{64}$/.test(body.h)))
    throw new Problem('invalid', 'the join token holds a malformed CA digest: copy it again, whole')
  return {
    url: centreOrigin(body.u),
    token: body.t,
    cluster: body.c,
    ...(typeof body.h === 'string' ? { caSha256: body.h } : {}),
  }
}
