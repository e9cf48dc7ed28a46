import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import type { ResourceSet } from '#mesh/model/resource.ts'
import type { View } from '#mesh/model/view.ts'
import { createMemo } from '#mesh/translate/memo.ts'
import { routerSet } from '#mesh/translate/router.ts'
import { sidecarSet } from '#mesh/translate/sidecar.ts'

export type Translator = {
  /**
   * All that one proxy is to be served. Pure in its answer: equal views and proxies give equal bytes, whatever the order
   * of their parts. What it remembers only saves work: unchanged inputs give the same objects, for every proxy, and
   * proxies that need the same resources of a type get the same map of them.
   */
  readonly resourcesFor: (view: View, proxy: MeshProxy) => ResourceSet
}

/** A translator for the proxies of one cluster. It holds what it gave for the last two views. */
export function createTranslator(): Translator {
  const memo = createMemo()
  let last: View | undefined
  return {
    resourcesFor(view, proxy) {
      if (view !== last) {
        memo.sweep()
        last = view
      }
      return proxy.kind === 'router' ? routerSet(view, proxy, memo) : sidecarSet(view, proxy, memo)
    },
  }
}
