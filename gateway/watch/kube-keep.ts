import type { KindStore } from '#gateway/watch/kube-store.ts'
import type { PlacedObject } from '#gateway/watch/parse-file.ts'

/** The last good objects of each kind, for a relay that starts while the API server is away. */
export type KeptObjects = {
  /** Undefined where there are none, or not surely all. */
  load(kind: string): readonly PlacedObject[] | undefined
  save(kind: string, objects: readonly PlacedObject[]): void
}

export type Keeping = {
  /** Puts what was kept into the stores; false where that is not surely all. */
  recall(): boolean
  changed(store: KindStore): void
  /** What changed is saved soon: what was read whole first at once, for a relay may be killed soon after it began. */
  later(): void
  /** Saves what was not, where that is wanted, and ends. */
  stop(isSaved: boolean): void
}

export type KeepingParts = {
  readonly kept: KeptObjects | undefined
  readonly stores: () => readonly KindStore[]
  /** At most so often. */
  readonly keepMs: number
}

export function openKeeping({ kept, stores, keepMs }: KeepingParts): Keeping {
  const unsaved = new Set<KindStore>()
  let timer: NodeJS.Timeout | undefined
  let isFirst = true
  let isEnded = false

  /** One kind in each turn: all at once would keep everybody waiting. */
  const saveOne = (): void => {
    const [store] = unsaved
    if (!store || isEnded) return
    save(store)
    setImmediate(saveOne)
  }
  const save = (store: KindStore): void => {
    unsaved.delete(store)
    kept?.save(store.kind.kind, store.objects())
  }
  return {
    recall: () => {
      for (const store of stores()) unsaved.add(store)
      const all = stores().map((store) => [store, kept?.load(store.kind.kind)] as const)
      if (all.some(([, objects]) => objects === undefined)) return false
      for (const [store, objects] of all) store.recall(objects ?? [])
      return true
    },
    changed: (store) => void unsaved.add(store),
    later: () => {
      if (!kept || isEnded || timer || unsaved.size === 0) return
      const waitMs = isFirst ? 0 : keepMs
      isFirst = false
      timer = setTimeout(() => {
        timer = undefined
        saveOne()
      }, waitMs).unref()
    },
    stop: (isSaved) => {
      isEnded = true
      clearTimeout(timer)
      if (isSaved) for (const store of [...unsaved]) save(store)
    },
  }
}
