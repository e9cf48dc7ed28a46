import { randomUUID } from 'node:crypto'
import type { Asked, KubeApi } from '#gateway/kube-api.ts'
import { Problem } from '#mesh/model/problem.ts'

type Kept = Record<string, unknown> & { readonly metadata: Record<string, unknown> & { readonly name: string } }

/** Objects by path as an API server keeps them: versions, 404, 409. `away` makes every call fail as one that is not there. */
export function keptObjects() {
  const objects = new Map<string, Kept>()
  const calls: string[] = []
  let version = 1
  const state = { away: false }
  const put = (path: string, body: unknown): Kept => {
    const object = body as Kept
    const kept = { ...object, metadata: { uid: randomUUID(), ...object.metadata, resourceVersion: String(++version) } }
    objects.set(path, kept)
    return structuredClone(kept)
  }
  const call = async (method: string, path: string, { body }: Asked = {}): Promise<unknown> => {
    calls.push(`${method} ${path}`)
    await new Promise(setImmediate)
    if (state.away) throw new Problem('unavailable', `the API server did not answer ${path}`)
    if (method === 'POST') {
      const at = `${path}/${(body as Kept).metadata.name}`
      if (objects.has(at)) throw new Problem('conflict', `${at} already exists`)
      return put(at, body)
    }
    const known = objects.get(path)
    if (!known) throw new Problem('not-found', `${path} not found`)
    if (method === 'GET') return structuredClone(known)
    if (method === 'DELETE') return void objects.delete(path)
    const said = (body as Kept).metadata['resourceVersion']
    if (said !== undefined && said !== known.metadata['resourceVersion']) throw new Problem('stale', `${path} moved on`)
    return put(path, body)
  }
  const lines: KubeApi['lines'] = () => {
    throw new Error('nobody watches')
  }
  return { api: { server: 'https://api.test', call, lines } satisfies KubeApi, objects, calls, state }
}
