import { join } from 'node:path'
import type { Logger } from 'pino'
import { apiServerKeys, issuerOf } from '#gateway/identity/api-server-keys.ts'
import type { JwksSource } from '#gateway/identity/jwks.ts'
import { loadKept, saveKept } from '#gateway/kept-file.ts'
import type { KubeApi } from '#gateway/kube-api.ts'
import { type Lead, type LeadParts, openLead } from '#gateway/lead/lease.ts'
import type { RelaySettings } from '#gateway/settings.ts'
import { type SharedState, sharedState } from '#gateway/shared-state.ts'
import { replaceFile } from '#gateway/uplink/replace-file.ts'
import { Problem } from '#mesh/model/problem.ts'

export type KubernetesSettings = NonNullable<RelaySettings['kubernetes']>

/** What a relay has of the Kubernetes cluster that it runs in, whoever it is in the mesh. */
export type OwnKubernetes = {
  readonly settings: KubernetesSettings
  readonly api: KubeApi
  readonly shared: SharedState
  readonly lead: Lead
  /** Calls back with each change of who leads, until the answer is called. */
  onLead(listener: (leads: boolean) => void): () => void
  readonly tokens: { readonly issuer: string; readonly keys: JwksSource }
  stop(): Promise<void>
}

/** `who`: this replica among the others, and where they reach it. */
type Place = {
  readonly stateDir: string
  readonly settings: RelaySettings
  readonly log: Logger
  readonly who: Pick<LeadParts, 'identity' | 'address'>
}

const retryMs = 2000

/**
 * The API server's side of a relay; undefined where its cluster is a directory. Waits for the API server only where
 * nobody else can tell whose tokens are good here. Throws what keeps it from being asked at all.
 */
export async function openKubernetes(
  { stateDir, settings, log, who }: Place,
  pause: (ms: number) => Promise<void>,
): Promise<OwnKubernetes | undefined> {
  const { kubernetes } = settings
  if (!kubernetes) return undefined
  // Loaded where it is needed: it costs 30 MB.
  const { kubeApi } = await import('#gateway/kube-api.ts')
  const { namespace, kubeconfig } = kubernetes
  const api = kubeApi(kubeconfig === undefined ? {} : { kubeconfig })
  const issuer = settings.tokens.issuer ?? (await keptIssuer({ api, stateDir, log, pause }))
  const listeners = new Set<(leads: boolean) => void>()
  const lead = openLead({
    ...{ api, namespace, name: 'relay', log, ...who },
    onChange: (leads) => {
      for (const listener of [...listeners]) listener(leads)
    },
  })
  return {
    ...{ settings: kubernetes, api, lead },
    shared: sharedState(api, { namespace, name: kubernetes.secret }),
    onLead: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    tokens: {
      issuer,
      keys: apiServerKeys(api, join(stateDir, 'jwks.json'), (text) => {
        try {
          replaceFile(join(stateDir, 'jwks.json'), text, 0o600)
        } catch (error) {
          log.warn({ err: (error as Error).message }, 'the keys of the token issuer could not be kept')
        }
      }),
    },
    stop: lead.stop,
  }
}

async function keptIssuer(parts: {
  readonly api: KubeApi
  readonly stateDir: string
  readonly log: Logger
  readonly pause: (ms: number) => Promise<void>
}): Promise<string> {
  const { api, log, pause } = parts
  const path = join(parts.stateDir, 'token-issuer.json')
  const warn = (text: string) => log.warn({ path }, text)
  for (let lastFault = ''; ; ) {
    try {
      const issuer = await issuerOf(api)
      saveKept(path, { issuer }, warn)
      return issuer
    } catch (error) {
      if (!(error instanceof Problem)) throw error
      const kept = loadKept(path, (body) => String((body as { issuer: unknown }).issuer), warn)
      if (kept !== undefined) return kept
      if (error.message !== lastFault) log.warn({ err: error.message }, 'the API server is asked again')
      lastFault = error.message
      await pause(retryMs)
    }
  }
}
