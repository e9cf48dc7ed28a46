import { createHash } from 'node:crypto'

/**
 * Names of streams. `ep/<cluster>/<audience>`: summaries of one source cluster for one audience; `cfg/<cluster>`: the
 * compiled config of one destination; `trust/<mesh>`: bundles; `adv/<mesh>`: drains and advice; `rep/<cluster>`: what a
 * cluster itself reports (only the centre reads it). Parts are DNS labels, so the slash separates safely.
 */
export type StreamName = string

export const everybody = 'all'

/** The audience of a list of consumers: `all`, or the first 16 hex digits of a hash of the sorted names. */
export function audienceOf(consumers: readonly string[] | undefined): string {
  if (consumers === undefined) return everybody
  return createHash('sha256')
    .update([...consumers].sort().join(','))
    .digest('hex')
    .slice(0, 16)
}

export const epStream = (cluster: string, audience: string): StreamName => `ep/${cluster}/${audience}`
export const cfgStream = (cluster: string): StreamName => `cfg/${cluster}`
export const trustStream = (mesh: string): StreamName => `trust/${mesh}`
export const adviceStream = (mesh: string): StreamName => `adv/${mesh}`
export const reportStream = (cluster: string): StreamName => `rep/${cluster}`

/** The source cluster of an `ep` stream; undefined for any other. */
export function sourceOf(stream: StreamName): string | undefined {
  const [kind, cluster] = stream.split('/')
  return kind === 'ep' ? cluster : undefined
}
