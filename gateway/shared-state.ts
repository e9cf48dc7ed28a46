import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import type { KubeApi } from '#gateway/kube-api.ts'
import { replaceFile } from '#gateway/uplink/replace-file.ts'
import { Problem } from '#mesh/model/problem.ts'

/**
 * What the replicas of one relay are together: who they are to the centre, and the cluster's issuing key. It lies in one
 * Secret of the cluster; the state directory of each replica has it as well, and serves it while the API server is away.
 */
export type SharedState = {
  /** For messages. */
  readonly place: string
  /** An entry as the Secret has it; undefined where it has none. Throws `unavailable` where nobody can tell. */
  read(entry: string): Promise<string | undefined>
  /**
   * Sets an entry that is `before` (undefined: that is not there). Throws `stale` where another replica was faster, and
   * what the API server says where it refuses.
   */
  write(entry: string, text: string, before: string | undefined): Promise<void>
}

const entriesBytesMax = 900 * 1024
const secretSchema = z.object({
  metadata: z.object({ resourceVersion: z.string() }),
  data: z.record(z.string(), z.string()).nullish(),
})
type Secret = z.infer<typeof secretSchema>

export function sharedState(api: KubeApi, { namespace, name }: { namespace: string; name: string }): SharedState {
  const secrets = `/api/v1/namespaces/${namespace}/secrets`
  const place = `Secret ${namespace}/${name}`
  const load = async (): Promise<Secret | undefined> => {
    try {
      return secretSchema.parse(await api.call('GET', `${secrets}/${name}`))
    } catch (error) {
      if (error instanceof Problem && error.kind === 'not-found') return undefined
      throw error instanceof z.ZodError ? new Problem('conflict', `${place} is no Secret that can be used`) : error
    }
  }
  return {
    place,
    read: async (entry) => textOf(await load(), entry),
    write: async (entry, text, before) => {
      const secret = await load()
      if (textOf(secret, entry) !== before)
        throw new Problem('stale', `${entry} in ${place} is another one by now: a replica of this relay was faster`)
      const data = { ...secret?.data, [entry]: Buffer.from(text).toString('base64') }
      if (Buffer.byteLength(JSON.stringify(data)) > entriesBytesMax)
        throw new Problem('too-large', `${place} would be larger than a Secret may be: delete what is not the relay's`)
      const metadata = { name, namespace, labels: { 'app.kubernetes.io/part-of': 'isthmus' } }
      const body = { apiVersion: 'v1', kind: 'Secret', type: 'Opaque', metadata, data }
      if (!secret) {
        await api.call('POST', secrets, { body }).catch(raced)
        return
      }
      const { resourceVersion } = secret.metadata
      await api.call('PUT', `${secrets}/${name}`, { body: { ...body, metadata: { ...metadata, resourceVersion } } })
    },
  }

  /** Created by another replica since it was looked for. */
  function raced(error: unknown): never {
    if (!(error instanceof Problem) || error.kind !== 'conflict') throw error
    throw new Problem('stale', `${place} was just made by another replica of this relay`, { cause: error })
  }
}

const textOf = (secret: Secret | undefined, entry: string): string | undefined => {
  const found = secret?.data?.[entry]
  return found === undefined ? undefined : Buffer.from(found, 'base64').toString('utf8')
}

/** Files of the state directory that say who a relay is. */
export const sharedFiles = ['relay-key.pem', 'membership.json'] as const

/** Brings here what the Secret holds of them: another replica joined, or this one is new. Gives whether a file is another one. */
export async function bringShared(shared: SharedState, stateDir: string): Promise<boolean> {
  let changed = false
  for (const file of sharedFiles) {
    const text = await shared.read(file)
    if (text === undefined || text === fileText(stateDir, file)) continue
    replaceFile(join(stateDir, file), text, 0o600)
    if (file === 'membership.json') replaceFile(join(stateDir, `${file}.1`), text, 0o600)
    changed = true
  }
  return changed
}

/** Gives a file of this replica to all; where another was faster its file takes the place of this one. */
export async function offerShared(
  shared: SharedState,
  stateDir: string,
  file: (typeof sharedFiles)[number],
): Promise<void> {
  const mine = fileText(stateDir, file)
  if (mine === undefined || (await shared.read(file)) === mine) return
  try {
    await shared.write(file, mine, undefined)
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'stale') throw error
    await bringShared(shared, stateDir)
  }
}

/** The same for a file that is another one now, whoever's was there before. */
export async function replaceShared(
  shared: SharedState,
  stateDir: string,
  file: (typeof sharedFiles)[number],
): Promise<void> {
  const mine = fileText(stateDir, file)
  const before = await shared.read(file)
  if (mine !== undefined && mine !== before) await shared.write(file, mine, before)
}

function fileText(stateDir: string, file: string): string | undefined {
  const path = join(stateDir, file)
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}
