import { existsSync, readFileSync } from 'node:fs'

/** One request as the API server wrote it down. */
export type AuditEntry = {
  readonly auditID: string
  readonly verb: string
  readonly requestURI: string
  readonly user: { readonly username: string }
  readonly userAgent?: string
  readonly objectRef?: {
    readonly resource?: string
    readonly subresource?: string
    readonly namespace?: string
    readonly name?: string
    readonly apiGroup?: string
  }
  readonly responseStatus?: { readonly code?: number; readonly message?: string }
  readonly requestReceivedTimestamp: string
}

/** What users asked of an API server, from a moment on. Each gives whole entries; `user` is the name before which none is asked. */
export type Audit = {
  entries(user?: string): AuditEntry[]
  /** Refused by RBAC, or for want of a name. */
  refusedRequests(user?: string): AuditEntry[]
  /** Secrets that were got, listed or watched. */
  secretReads(user?: string): AuditEntry[]
  /** What changed objects and was let do so; tokens that were asked for are none. */
  writes(user?: string): AuditEntry[]
  /** The same log from now on. */
  fromNow(): Audit
}

const changing = ['create', 'update', 'patch', 'delete', 'deletecollection']

/**
 * Reads the API server's audit log, level Metadata. An entry is there when the answer has been sent, so whoever awaited an
 * answer finds its entry a moment later: look after `KubeCluster.settled`.
 */
export function auditOf(path: string, since = 0): Audit {
  const entries = (user?: string): AuditEntry[] => {
    // A watch is written down twice, when it begins and when it ends.
    const byId = new Map<string, AuditEntry>()
    for (const entry of entriesFrom(path, since)) if (!byId.has(entry.auditID)) byId.set(entry.auditID, entry)
    return [...byId.values()].filter((entry) => user === undefined || entry.user.username === user)
  }
  return {
    entries,
    refusedRequests: (user) =>
      entries(user).filter(({ responseStatus }) => [401, 403].includes(responseStatus?.code ?? 0)),
    secretReads: (user) =>
      entries(user).filter(
        ({ objectRef, verb }) => objectRef?.resource === 'secrets' && ['get', 'list', 'watch'].includes(verb),
      ),
    writes: (user) =>
      entries(user).filter(
        (entry) => changing.includes(entry.verb) && (entry.responseStatus?.code ?? 0) < 400 && !isQuestion(entry),
      ),
    fromNow: () => auditOf(path, bytesOf(path).length),
  }
}

/** Created, but nothing is kept: reviews, tokens and rehearsals. */
function isQuestion({ objectRef, requestURI }: AuditEntry): boolean {
  const { apiGroup, subresource } = objectRef ?? {}
  const isReview = ['authorization.k8s.io', 'authentication.k8s.io'].includes(apiGroup ?? '')
  return isReview || subresource === 'token' || /[?&]dryRun=All/.test(requestURI)
}

/** Whole lines only: the last one may be under way. */
function entriesFrom(path: string, since: number): AuditEntry[] {
  const lines = bytesOf(path).subarray(since).toString('utf8').split('\n')
  return lines.slice(0, -1).map((line) => JSON.parse(line) as AuditEntry)
}

/** Nothing where the server has not opened it yet. */
const bytesOf = (path: string): Buffer => (existsSync(path) ? readFileSync(path) : Buffer.alloc(0))

/** `GET secrets isthmus-system/relay → 403 (system:serviceaccount:isthmus-system:relay)`: for what a test prints. */
export function said({ verb, objectRef, requestURI, responseStatus, user }: AuditEntry): string {
  const { resource, subresource, namespace, name } = objectRef ?? {}
  const kind = [resource, subresource].filter((one) => one !== undefined).join('/')
  const object = [namespace, name].filter((one) => one !== undefined).join('/')
  const what = kind === '' ? requestURI : object === '' ? kind : `${kind} ${object}`
  return `${verb} ${what} → ${responseStatus?.code ?? '?'} (${user.username})`
}
