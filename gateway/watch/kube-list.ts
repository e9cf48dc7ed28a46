import type { KubeApi } from '#gateway/kube-api.ts'
import { Problem } from '#mesh/model/problem.ts'

export type ListParts = {
  readonly api: KubeApi
  readonly path: string
  readonly limit: number
  readonly signal: AbortSignal
  /** Called before the first page, and again where the pages have to be asked for anew. */
  readonly begin: () => void
  readonly take: (item: unknown) => void
}

/** A server that hands out tokens for ever is not followed for ever. */
const pagesMax = 10_000

/**
 * Lists everything at `path`, page by page, and gives the version of the list. Pages are of one moment: where the server
 * can no longer keep to that (410), they are asked for anew, and the second time all at once. A page may be empty and
 * others follow. Throws what the server refuses, and `unavailable` where its pages lead nowhere.
 */
export async function listAll({ api, path, limit, signal, begin, take }: ListParts): Promise<string> {
  begin()
  let token: string | undefined
  let version: string | undefined
  let anew = 0
  const startAnew = (): void => {
    anew++
    token = undefined
    version = undefined
    begin()
  }
  for (let pages = 0; pages < pagesMax; pages++) {
    const query = { ...(anew > 1 ? {} : { limit }), ...(token === undefined ? {} : { continue: token }) }
    let page: Page
    try {
      page = parsePage(await api.call('GET', path, { query, signal }), path)
    } catch (cause) {
      if (token === undefined || !(cause instanceof Problem) || cause.kind !== 'stale') throw cause
      startAnew()
      continue
    }
    if (version !== undefined && version !== page.version) {
      startAnew()
      continue
    }
    version = page.version
    for (const item of page.items) take(item)
    if (page.next === '') return version
    if (page.next === token) throw nowhere(path, 'gives the same continue token again')
    token = page.next
  }
  throw nowhere(path, `has over ${pagesMax} pages`)
}

const nowhere = (path: string, reason: string): Problem =>
  new Problem('unavailable', `the list of ${path} ${reason}: what was known stays`)

type Page = { readonly items: readonly unknown[]; readonly version: string; readonly next: string }

function parsePage(body: unknown, path: string): Page {
  const { items, metadata } = (body ?? {}) as {
    items?: unknown
    metadata?: { resourceVersion?: unknown; continue?: unknown }
  }
  const { resourceVersion: version, continue: next = '' } = metadata ?? {}
  if (
    !(Array.isArray(items) || items === null) ||
    typeof version !== 'string' ||
    version === '' ||
    typeof next !== 'string'
  )
    throw nowhere(path, 'is no list of Kubernetes: items and metadata.resourceVersion are expected')
  return { items: items ?? [], version, next }
}
