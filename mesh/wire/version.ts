import { Problem } from '#mesh/model/problem.ts'

/** The version of mesh-sync that this build speaks. A minor step adds fields; a major one may not be mixed. */
export const meshSync = { major: 1, minor: 1 } as const
export const meshSyncText = `mesh-sync/${meshSync.major}.${meshSync.minor}`

/**
 * Checks a peer's word for its version: the same major, and at most one minor older or newer. Throws `conflict` that
 * names both versions and which side to upgrade first (the older one; relays before the centre is never needed).
 */
export function checkVersion(said: string, peer: 'relay' | 'centre'): void {
  const match = /^mesh-sync\/(\d{1,4})\.(\d{1,4})$/.exec(said)
  if (!match)
    throw new Problem('invalid', `"${said.slice(0, 40)}" is not a mesh-sync version; this side speaks ${meshSyncText}`)
  const [major, minor] = [Number(match[1]), Number(match[2])]
  if (major === meshSync.major && Math.abs(minor - meshSync.minor) <= 1) return
  const peerIsOlder = major < meshSync.major || (major === meshSync.major && minor < meshSync.minor)
  const own = peer === 'relay' ? 'centre' : 'relay'
  throw new Problem(
    'conflict',
    `the ${peer} speaks ${said}, this ${own} speaks ${meshSyncText}: upgrade the ${peerIsOlder ? peer : own} first`,
  )
}
