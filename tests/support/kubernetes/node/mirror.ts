import type { KubeApi } from '#gateway/kube-api.ts'

/** What every object has that is read here. */
export type Named = {
  readonly metadata?: { readonly name?: string; readonly namespace?: string; readonly resourceVersion?: string }
}

/** All objects of one kind, as they are now. */
export type Mirror<T> = {
  all(): readonly T[]
  /** By `namespace/name`, or the name alone of what has no namespace. */
  get(key: string): T | undefined
  readonly synced: Promise<void>
}

const againMs = 200

/** Lists and watches until the process ends, and lists again after whatever went wrong; `changed` after each change. */
export function mirror<T extends Named>(api: KubeApi, path: string, changed: () => void): Mirror<T> {
  let objects = new Map<string, T>()
  const list = async (): Promise<string> => {
    const { items, metadata } = (await api.call('GET', path)) as { items: T[]; metadata: { resourceVersion: string } }
    objects = new Map(items.map((one) => [keyOf(one), one]))
    changed()
    return metadata.resourceVersion
  }
  const follow = async (resourceVersion: string): Promise<void> => {
    const query = { resourceVersion, timeoutSeconds: 600 }
    for await (const line of api.lines(path, { query, silentMs: 900_000 })) {
      const { type, object } = JSON.parse(line) as { type: string; object: T }
      if (type === 'ERROR') return
      if (type === 'DELETED') objects.delete(keyOf(object))
      else objects.set(keyOf(object), object)
      changed()
    }
  }
  const synced = new Promise<void>((resolve) => {
    const forever = async (): Promise<never> => {
      for (;;) {
        try {
          const version = await list()
          resolve()
          await follow(version)
        } catch {
          // The API server is away: what is known stays.
        }
        await new Promise((next) => setTimeout(next, againMs))
      }
    }
    void forever()
  })
  return { all: () => [...objects.values()], get: (key) => objects.get(key), synced }
}

export function keyOf({ metadata }: Named): string {
  const { namespace, name = '' } = metadata ?? {}
  return namespace === undefined ? name : `${namespace}/${name}`
}
