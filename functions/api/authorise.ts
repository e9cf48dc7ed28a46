import type { MiddlewareHandler } from 'hono'
import { authenticate, operatorKeyPrefix } from '#control/authenticate.ts'
import { type Caller, requireCluster, requireRole } from '#control/caller.ts'
import type { Role } from '#control/store/operator-keys.ts'
import { readBody } from '#functions/api/body.ts'
import type { Door, Env, Limits } from '#functions/api/door.ts'
import { jsonFault, sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'

type Middleware = MiddlewareHandler<Env>

/** Sizes of bodies; a route without one takes none. */
export const bodyBytesMax = { usual: 1024 * 1024, report: 512 * 1024, stranger: 16 * 1024 } as const

/** A route for operators of at least that role. */
export const forRole = (door: Door, role: Role): Middleware =>
  guarded(door, { bytesMax: bodyBytesMax.usual }, (caller) => requireRole(caller, role))

/**
 * A route for relays alone; where the path names a cluster, for the relay of that one. `apart` names a member of the
 * body whose parts the flow judges one by one.
 */
export const forCluster = (door: Door, bytesMax: number, apart?: string): Middleware =>
  guarded(door, { bytesMax, apart }, (caller, id) => requireCluster(caller, id))

/** A route without credential: few and small requests. */
export const forStrangers =
  (door: Door): Middleware =>
  async (c, next) => {
    door.limits.strangers.take(addressOf(c.env), door.centre.now())
    await takeInput(c, { bytesMax: bodyBytesMax.stranger })
    await next()
  }

const guarded =
  (door: Door, input: Input, admit: (caller: Caller, id: string | undefined) => unknown): Middleware =>
  async (c, next) => {
    const caller = await callerOf(door, c.req.header('authorization'), addressOf(c.env))
    admit(caller, c.req.param('id'))
    c.set('caller', caller)
    await takeInput(c, input)
    await next()
  }

/** Who sends `Authorization: Bearer …`, within its rate. Guessing is bounded by address. Throws `unauthenticated`, `too-many`. */
export async function callerOf(door: Door, header: string | undefined, address: string): Promise<Caller> {
  const now = door.centre.now()
  try {
    const credential = /^Bearer +([A-Za-z0-9._~+/=-]{1,4096})$/i.exec(header ?? '')?.[1]
    if (credential === undefined) throw new Problem('unauthenticated', 'no bearer credential')
    const isKey = credential.startsWith(operatorKeyPrefix)
    // A guessed key costs a look into the database; a cluster's token none before its signature is good. Relays, and
    // operators who were known before, are let through beside somebody of their address who guesses.
    if (isKey && !isKnown(door.limits, credential)) door.limits.strangers.check(address, now)
    const caller = await authenticate(door.centre, credential)
    if (isKey) know(door.limits, credential)
    door.limits[caller.kind === 'cluster' ? 'clusters' : 'operators'].take(caller.id, now)
    return caller
  } catch (error) {
    if (error instanceof Problem && error.kind === 'unauthenticated') {
      door.limits.strangers.take(address, now)
      door.centre.log.info({ address, why: error.message }, 'caller refused')
    }
    throw error
  }
}

/** Hashes of keys that were good once; they are authenticated nevertheless. */
const known = new WeakMap<Limits, Set<string>>()
const knownMax = 1000

const isKnown = (limits: Limits, key: string): boolean => known.get(limits)?.has(sha256Hex(key)) ?? false

function know(limits: Limits, key: string): void {
  const hashes = known.get(limits) ?? new Set()
  known.set(limits, hashes.add(sha256Hex(key)))
  const [eldest] = hashes
  if (eldest !== undefined && hashes.size > knownMax) hashes.delete(eldest)
}

export const addressOf = (env: Env['Bindings'] | undefined): string => env?.incoming?.socket?.remoteAddress ?? 'unknown'

type Input = { readonly bytesMax: number; readonly apart?: string | undefined }

/**
 * Looks at everything that a caller says before any route does. Throws `invalid` that names the place of what no store
 * takes: see `jsonFault`.
 */
async function takeInput(c: Parameters<Middleware>[0], { bytesMax, apart }: Input): Promise<void> {
  refuseOdd(c.req.param(), 'path')
  refuseOdd(c.req.queries(), 'query')
  await takeBody(c, bytesMax, apart)
}

function refuseOdd(said: unknown, where: string): void {
  const fault = jsonFault(said)
  if (fault) throw new Problem('invalid', `${where}: ${fault.path} ${fault.reason}`, { violations: [fault] })
}

/** Reads the body once, bounded and inflated, and puts it where the validators look for it. */
async function takeBody(c: Parameters<Middleware>[0], bytesMax: number, apart?: string): Promise<void> {
  const { method } = c.req
  if (method !== 'POST' && method !== 'PUT') return
  const bytes = await readBody(c.req.raw, bytesMax)
  const type = c.req.header('content-type') ?? ''
  if (bytes.length > 0) {
    if (!/^application\/json\b/i.test(type))
      throw new Problem('invalid', `content-type "${type.slice(0, 80)}" is not taken: send application/json`)
    const said = parseBody(bytes)
    refuseOdd(apart === undefined ? said : { ...said, [apart]: null }, 'body')
  }
  Object.assign(c.req.bodyCache, { text: Promise.resolve(Buffer.from(bytes).toString('utf8')) })
}

function parseBody(bytes: Uint8Array): object {
  try {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (typeof value === 'object' && value !== null) return value
  } catch (cause) {
    throw new Problem('invalid', `the body is no JSON: ${(cause as Error).message.slice(0, 200)}`, { cause })
  }
  throw new Problem('invalid', 'the body is no JSON object')
}
