import type { Proxy as MeshProxy } from '#mesh/model/proxy.ts'
import type { ResourceSet } from '#mesh/model/resource.ts'
import type { View } from '#mesh/model/view.ts'
import { createMemo } from '#mesh/translate/memo.ts'
import { routerSet } from '#mesh/translate/router.ts'
import { sidecar } from '#mesh/translate/sidecar.ts'
import { trustedView } from '#mesh/translate/trusted-view.ts'

export type Translator = {
  /**
   * All that one proxy is to be served of a view. Pure in its answer: equal views and proxies give equal bytes, whatever
   * the order of their parts. What it remembers only saves work: unchanged inputs give the same objects, for every proxy,
   * and proxies that need the same resources of a type get the same map of them.
   */
  readonly serving: (proxy: MeshProxy) => (view: View) => ResourceSet
  /** The same for once. */
  readonly resourcesFor: (view: View, proxy: MeshProxy) => ResourceSet
}

/** A translator for the proxies of one cluster. It holds what it gave for the last views. */
export function createTranslator(): Translator {
  const memo = createMemo()
  let last: View | undefined
  let trusted: View | undefined
  const serving: Translator['serving'] = (proxy) => {
    const set = proxy.kind === 'router' ? (view: View) => routerSet(view, proxy, memo) : sidecar(proxy, memo)
    return (view) => {
      if (view !== last || trusted === undefined) {
        memo.turn()
        trusted = trustedView(view, memo)
      }
      last = view
      return set(trusted)
    }
  }
  const known = new WeakMap<MeshProxy, (view: View) => ResourceSet>()
  return {
    serving,
    resourcesFor: (view, proxy) => {
      const serve = known.get(proxy) ?? serving(proxy)
      known.set(proxy, serve)
      return serve(view)
    },
  }
}
