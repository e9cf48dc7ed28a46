import { Problem } from '#mesh/model/problem.ts'

/** What one line of a watch says. */
export type KubeEvent =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly head: Head; readonly object: unknown }
  | { readonly type: 'BOOKMARK'; readonly version: string }

/** Which object, and which version of it. */
export type Head = {
  /** `<namespace>/<name>`, or the name alone. */
  readonly key: string
  readonly version: string
  readonly namespace: string | undefined
  readonly name: string
}

/**
 * Throws `invalid` where the line says nothing that can be told, and for an ERROR event what it says: `stale` where the
 * version asked for is gone, `too-many`, or `unavailable`.
 */
export function parseEvent(line: string, path: string): KubeEvent {
  const { type, object } = jsonOf(line, path) as { type?: unknown; object?: unknown }
  if (type === 'ERROR') throw errorOf(object, path)
  if (type === 'BOOKMARK') {
    const { metadata } = (object ?? {}) as { metadata?: { resourceVersion?: unknown } }
    const version = metadata?.resourceVersion
    if (typeof version === 'string' && version !== '') return { type, version }
  }
  if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED')
    return { type, head: parseHead(object, path), object }
  throw malformed(path, line)
}

/** Throws `invalid` where it cannot be told which object it is. */
export function parseHead(object: unknown, path: string): Head {
  const { metadata } = (object ?? {}) as {
    metadata?: { name?: unknown; namespace?: unknown; resourceVersion?: unknown }
  }
  const { name, namespace, resourceVersion: version } = metadata ?? {}
  if (typeof name !== 'string' || name === '' || typeof version !== 'string' || version === '')
    throw malformed(path, JSON.stringify(object) ?? '')
  if (typeof namespace !== 'string' || namespace === '') return { key: name, version, name, namespace: undefined }
  return { key: `${namespace}/${name}`, version, name, namespace }
}

function jsonOf(line: string, path: string): object {
  try {
    const value: unknown = JSON.parse(line)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // said below
  }
  throw malformed(path, line)
}

const malformed = (path: string, text: string): Problem =>
  new Problem('invalid', `the watch of ${path} sent what is no event of an object: ${text.slice(0, 200)}`)

function errorOf(status: unknown, path: string): Problem {
  const { code, message } = (status ?? {}) as { code?: unknown; message?: unknown }
  const said = typeof message === 'string' ? message.slice(0, 1000) : 'no reason'
  const kind = code === 410 ? 'stale' : code === 429 ? 'too-many' : 'unavailable'
  return new Problem(kind, `the API server ended the watch of ${path}: ${said}`)
}
