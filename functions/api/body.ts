import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { Problem } from '#mesh/model/problem.ts'

const inflate = promisify(gunzip)

/**
 * The body of a request as bytes, at most `bytesMax` on the wire and, where it is gzip, also after inflating. Throws
 * `too-large` with the limit before more than that was kept, `invalid` for a coding other than gzip or a broken one.
 */
export async function readBody(request: Request, bytesMax: number): Promise<Uint8Array> {
  const coding = (request.headers.get('content-encoding') ?? 'identity').toLowerCase()
  if (coding !== 'identity' && coding !== 'gzip')
    throw new Problem('invalid', `content-encoding "${coding.slice(0, 40)}" is not taken: send gzip or none`)
  if (Number(request.headers.get('content-length') ?? 0) > bytesMax) throw tooLarge(bytesMax)
  const parts: Uint8Array[] = []
  let size = 0
  if (request.body !== null)
    for await (const part of request.body) {
      size += part.byteLength
      if (size > bytesMax) throw tooLarge(bytesMax)
      parts.push(part)
    }
  const bytes = Buffer.concat(parts)
  if (coding === 'identity' || bytes.length === 0) return bytes
  try {
    return await inflate(bytes, { maxOutputLength: bytesMax })
  } catch (cause) {
    if (cause instanceof RangeError) throw tooLarge(bytesMax)
    throw new Problem('invalid', 'the body says it is gzip and cannot be inflated: it is cut off or damaged', { cause })
  }
}

const tooLarge = (bytesMax: number): Problem =>
  new Problem('too-large', `the body has more than ${bytesMax} bytes: send less at once`, { extra: { bytesMax } })
