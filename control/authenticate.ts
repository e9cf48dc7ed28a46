import type { KeyObject } from 'node:crypto'
import type { Caller, ClusterCaller } from '#control/caller.ts'
import type { Centre } from '#control/centre.ts'
import { isSignedBy, type Jwt, keyFromJwk, parseJwt, signJwt } from '#control/jwt.ts'
import { useAssertion } from '#control/store/assertions.ts'
import { type ClusterRow, loadCluster, loadClustersById } from '#control/store/clusters.ts'
import { loadOperatorKeyByHash } from '#control/store/operator-keys.ts'
import { together } from '#control/together.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { parseClusterId, parseClusterName, parseMeshName } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'
import { assertionClaimsSchema, assertionSkewMs } from '#mesh/wire/assertion.ts'
import { publicJwkSchema, type TokenAnswer } from '#mesh/wire/join.ts'

/** Every operator's key begins so, and a secret scanner can find one that got lost. */
export const operatorKeyPrefix = 'isthmus_key_'

const accessTokenLifeSeconds = 3600

/**
 * Who a bearer credential speaks for: an operator's key, or a cluster's access token whose cluster is a member still and
 * holds the key that the token is bound to. Throws `unauthenticated`; why is for the log alone.
 */
export async function authenticate(centre: Centre, credential: string): Promise<Caller> {
  return credential.startsWith(operatorKeyPrefix)
    ? authenticateOperator(centre, credential)
    : authenticateCluster(centre, credential)
}

async function authenticateOperator(centre: Centre, key: string): Promise<Caller> {
  const row = await centre.db.read((tx) => loadOperatorKeyByHash(tx, sha256Hex(key)))
  if (!row || row.mesh !== centre.mesh) throw unknown('no operator key has this hash')
  if (row.revokedAt !== null) throw unknown(`operator key ${row.id} is revoked`)
  if (row.expiresAt !== null && row.expiresAt <= centre.now()) throw unknown(`operator key ${row.id} has expired`)
  return { kind: 'operator', id: row.id, name: row.name, role: row.role, mesh: parseMeshName(row.mesh) }
}

async function authenticateCluster(centre: Centre, token: string): Promise<ClusterCaller> {
  const jwt = believed(centre.keys.token.publicKey, token)
  if (!jwt) throw unknown('not an access token of this centre')
  const { iss, aud, sub, mesh, exp, gen, cnf } = jwt.claims
  if (iss !== centre.url || aud !== centre.url || mesh !== centre.mesh || typeof sub !== 'string')
    throw unknown('an access token of another centre or mesh')
  if (typeof exp !== 'number' || exp * 1000 <= centre.now()) throw unknown('an access token that has expired')
  const row = await clusterOf(centre, sub.slice(0, 36))
  if (row?.state !== 'joined') throw unknown(`cluster ${sub} is no member (any more)`)
  if (row.generation !== gen || row.keyThumbprint === null || row.keyThumbprint !== thumbprintIn(cnf))
    throw unknown(`cluster ${row.name} has joined anew with another key`)
  return { kind: 'cluster', ...idAndName(row), mesh: centre.mesh, expiresAt: exp * 1000 }
}

const believedMax = 10_000
const signed = new WeakMap<KeyObject, Map<string, Jwt>>()

/**
 * An access token that `key` has signed; undefined for any other. A signature is looked at once (it cost a tenth of what a
 * report costs, 2026-11): what the token says, when it ends and who is a member is looked at each time.
 */
function believed(key: KeyObject, token: string): Jwt | undefined {
  const known = signed.get(key) ?? new Map<string, Jwt>()
  signed.set(key, known)
  const hash = sha256Hex(token)
  const before = known.get(hash)
  if (before) return before
  const jwt = parseJwt(token)
  if (jwt?.header['typ'] !== 'at+jwt' || !isSignedBy(jwt, key)) return undefined
  known.set(hash, jwt)
  const [eldest] = known.keys()
  if (eldest !== undefined && known.size > believedMax) known.delete(eldest)
  return jwt
}

type Asked = { ids: Set<string>; readonly look: () => Promise<ReadonlyMap<string, ClusterRow>> }
const asking = new WeakMap<Centre, Asked>()

/** A cluster as it stands now: those who ask while others are answered are answered together, by a look that began later. */
async function clusterOf(centre: Centre, id: string): Promise<ClusterRow | undefined> {
  const asked: Asked = asking.get(centre) ?? { ids: new Set(), look: together(() => lookUp(centre, asked)) }
  asking.set(centre, asked)
  asked.ids.add(id)
  return (await asked.look()).get(id)
}

async function lookUp(centre: Centre, asked: Asked): Promise<ReadonlyMap<string, ClusterRow>> {
  const ids = [...asked.ids]
  asked.ids = new Set()
  const rows = await centre.db.read((tx) => loadClustersById(tx, centre.mesh, ids))
  return new Map(rows.map((row) => [row.id, row]))
}

const thumbprintIn = (cnf: unknown): unknown =>
  typeof cnf === 'object' && cnf !== null && 'jkt' in cnf ? cnf.jkt : undefined

const unknown = (why: string): Problem => new Problem('unauthenticated', why)

/**
 * An access token of one hour for a cluster that proves by an assertion that it holds the key it joined with (RFC 7523).
 * An assertion works once, and within five minutes of its making.
 *
 * Throws `unauthenticated`: bland, but for a clock that is off, where `extra.time` (the centre's) and `extra.offsetMs` say by how much.
 */
export async function issueToken(centre: Centre, assertion: string): Promise<TokenAnswer> {
  const jwt = parseJwt(assertion)
  const claims = jwt && assertionClaimsSchema.safeParse(jwt.claims)
  if (!jwt || !claims?.success) throw unknown('the assertion is no JWT, or claims are missing')
  const { iss, sub, aud, jti, iat, exp } = claims.data
  if (iss !== sub) throw unknown('issuer and subject of the assertion differ')
  const row = await centre.db.read((tx) => loadCluster(tx, centre.mesh, sub.slice(0, 36)))
  if (!row?.keyJwk || row.state !== 'joined') throw unknown(`the assertion is of ${sub}, no member (any more)`)
  if (!holdsKey(jwt, row)) throw unknown(`the assertion is not signed by the key of cluster ${row.name}`)
  if (aud.replace(/\/+$/, '') !== centre.url)
    throw explained(`the assertion is for "${aud.slice(0, 200)}", this centre is ${centre.url}: dial that URL`)
  checkClock(centre.now(), iat * 1000, exp * 1000)
  const jtiHash = sha256Hex(`${row.id}\0${jti}`)
  if (!(await centre.db.transact((tx) => useAssertion(tx, jtiHash, Math.ceil(exp * 1000) + assertionSkewMs))))
    throw unknown(`the assertion ${jti.slice(0, 40)} of cluster ${row.name} was used before`)
  const accessToken = await accessTokenFor(centre, row)
  return { accessToken, expiresInSeconds: accessTokenLifeSeconds, time: centre.now() }
}

function holdsKey(jwt: Jwt, row: ClusterRow): boolean {
  const key = publicJwkSchema.parse(JSON.parse(row.keyJwk ?? ''))
  return jwt.header['kid'] === row.keyThumbprint && isSignedBy(jwt, keyFromJwk(key))
}

/** The signature was good, so the caller may know: a wrong clock is the one fault here that somebody can mend. */
function checkClock(now: number, issuedAt: number, expiresAt: number): void {
  const offMs = issuedAt - now
  if (Math.abs(offMs) <= assertionSkewMs && expiresAt > now && expiresAt - issuedAt <= 2 * assertionSkewMs) return
  const seconds = Math.round(Math.abs(offMs) / 1000)
  throw explained(
    `the relay's clock is ${seconds} s ${offMs < 0 ? 'behind' : 'ahead of'} the centre's (${new Date(now).toISOString()}), ` +
      'or the assertion lives too long: at most 5 minutes either way; set the clock of the machine (NTP)',
    { time: now, offsetMs: offMs },
  )
}

const explained = (detail: string, extra: Readonly<Record<string, number>> = {}): Problem =>
  new Problem('unauthenticated', detail, { extra: { ...extra, explained: true } })

function accessTokenFor(centre: Centre, row: ClusterRow): Promise<string> {
  const seconds = Math.floor(centre.now() / 1000)
  return signJwt(
    { typ: 'at+jwt', kid: centre.keys.token.kid },
    {
      iss: centre.url,
      aud: centre.url,
      sub: row.id,
      mesh: row.mesh,
      cluster: row.name,
      gen: row.generation,
      cnf: { jkt: row.keyThumbprint },
      iat: seconds,
      exp: seconds + accessTokenLifeSeconds,
    },
    centre.keys.token.signer,
  )
}

const idAndName = (row: ClusterRow) => ({ id: parseClusterId(row.id), name: parseClusterName(row.name) })
