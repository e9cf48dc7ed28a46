import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { type KubeApi, kubeApi } from '#gateway/kube-api.ts'
import { type Program, startProgram, tailOf } from '#tests/support/fleet-program.ts'
import { type Audit, auditOf } from '#tests/support/kubernetes/audit.ts'
import { type ApiServer, auditLogOf, startControlPlane } from '#tests/support/kubernetes/control-plane.ts'
import { makeCredentials } from '#tests/support/kubernetes/credentials.ts'
import { type KubeObject, pathOf } from '#tests/support/kubernetes/kinds.ts'
import { lan, openSite } from '#tests/support/kubernetes/lan.ts'
import { pidOf } from '#tests/support/kubernetes/node/container.ts'
import { apiServerPort, type NodeSettings, readyLine } from '#tests/support/kubernetes/node/settings.ts'
import { nth } from '#tests/support/kubernetes/ranges.ts'
import { eventually } from '#tests/support/until.ts'

export type KubeClusterSpec = {
  readonly name: string
  /** 10.11.0.0/16 where absent; several clusters may have the same. */
  readonly podCidr?: string
  /** 10.96.0.0/16 where absent. */
  readonly serviceCidr?: string
  /** A kubeconfig that names the webhook which knows tokens that this API server does not. */
  readonly tokenWebhook?: string
  readonly apiServerFlags?: readonly string[]
  /** With it pods run. Image name without tag → the program that stands for it; another image cannot be pulled. */
  readonly images?: NodeSettings['images']
  /** One in us-east-1a where absent. */
  readonly nodes?: NodeSettings['nodes']
  /** Its pods can be reached from other clusters: they are of one network. */
  readonly isFlat?: true
}

export type TokenSpec = {
  readonly namespace: string
  readonly serviceAccount: string
  readonly audiences?: readonly string[]
  readonly seconds?: number
  /** The token ends with this pod. */
  readonly pod?: { readonly name: string; readonly uid: string }
}

/** A Kubernetes control plane on a site of its own. */
export type KubeCluster = {
  readonly name: string
  /** Logs, kubeconfigs and data; gone after `stop`, but where ISTHMUS_KEEP is set. */
  readonly dir: string
  /** On the LAN. */
  readonly address: string
  readonly server: string
  /** PEM. */
  readonly caFile: string
  /** The path of a kubeconfig of a user `admin` who may do everything. */
  readonly kubeconfig: string
  /** The same, to call. */
  readonly api: KubeApi
  readonly apiServer: ApiServer
  readonly audit: Audit
  /** Before a command that is to run in the cluster's network, as if on its node. */
  readonly enter: readonly string[]
  run(...command: readonly string[]): Promise<string>
  /** Applies YAML or objects as `admin`, one after the other, as `kubectl apply --server-side --force-conflicts` does. */
  apply(what: string | readonly KubeObject[]): Promise<void>
  remove(object: KubeObject): Promise<void>
  token(asked: TokenSpec): Promise<string>
  /** The path of a kubeconfig with such a token. */
  kubeconfigOf(asked: TokenSpec): Promise<string>
  /** The process of a container that runs (its pod by `namespace/name`): to kill or stop it behind the kubelet's back. */
  pidOf(pod: string, container: string): Promise<number>
  /** The last lines of a container. */
  logOf(pod: string, container: string, lines?: number): string
  /** Resolves when the audit log has everything that was asked before. */
  settled(): Promise<void>
  stop(): Promise<void>
}

/** Resolves when its API server is ready. Throws where `whyNoClusters` gives a reason. */
export async function startKubeCluster(spec: KubeClusterSpec): Promise<KubeCluster> {
  const { name, podCidr = '10.11.0.0/16', serviceCidr = '10.96.0.0/16' } = spec
  const dir = mkdtempSync(join(tmpdir(), `isthmus-${name}-`))
  mkdirSync(join(dir, 'logs'))
  const site = await openSite(name, dir)
  const server = `https://${site.address}:${apiServerPort}`
  const own = [site.address, '127.0.0.1', nth(serviceCidr, 1)]
  const credentials = await makeCredentials(dir, server, own)
  const kubeconfig = await credentials.kubeconfigOf('admin', ['system:masters'])
  const api = kubeApi({ kubeconfig })
  const plane = await startControlPlane({
    ...{ name, dir, network: site, address: site.address, serviceCidr, credentials },
    ...(spec.tokenWebhook === undefined ? {} : { tokenWebhook: spec.tokenWebhook }),
    ...(spec.apiServerFlags === undefined ? {} : { apiServerFlags: spec.apiServerFlags }),
    // What it answers is no JSON; that it is no refusal is enough.
    ready: async () => {
      for await (const _ of api.lines('/readyz', { silentMs: 10_000 }));
      await api.call('GET', '/api/v1/namespaces/kube-system')
    },
  }).catch(async (fault) => {
    await site.close()
    throw fault
  })
  if (spec.isFlat) await site.route(podCidr)
  const node = spec.images && (await startNode(spec.images))
  const audit = auditOf(auditLogOf(dir))

  async function startNode(images: NodeSettings['images']): Promise<Program> {
    const settings: NodeSettings = {
      kubeconfig: await credentials.kubeconfigOf('system:node', ['system:masters']),
      ...{ dir, images, podCidr, serviceCidr, lan: lan.cidr, dns: nth(serviceCidr, 10) },
      ...{ address: site.address, egressCidr: site.egressCidr, balancerCidr: site.balancerCidr },
      tls: credentials.server,
      nodes: spec.nodes ?? [{ name: `${name}-node`, region: 'us-east-1', zone: 'us-east-1a' }],
    }
    writeFileSync(join(dir, 'node.json'), JSON.stringify(settings))
    const log = join(dir, 'logs/node.log')
    const program = startProgram({
      name: `${name}/node`,
      command: [...site.enter, process.execPath, join(import.meta.dirname, 'node/main.ts'), join(dir, 'node.json')],
      env: environment,
      log,
    })
    await eventually(60_000, `the node of ${name} is ready`, () => {
      if (program.pid() === undefined) throw new Error(`it ended: ${tailOf(log, 10)}`)
      return tailOf(log, 100).includes(readyLine)
    })
    return program
  }

  const token = async ({ namespace, serviceAccount, audiences, seconds = 3600, pod }: TokenSpec): Promise<string> => {
    const answer = await api.call('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`, {
      body: {
        ...{ apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' },
        spec: {
          ...{ expirationSeconds: seconds },
          ...(audiences ? { audiences } : {}),
          ...(pod ? { boundObjectRef: { apiVersion: 'v1', kind: 'Pod', ...pod } } : {}),
        },
      },
    })
    return (answer as { readonly status: { readonly token: string } }).status.token
  }
  return {
    ...{ name, dir, server, kubeconfig, api, audit, token },
    ...{ address: site.address, enter: site.enter, run: site.run, apiServer: plane.apiServer },
    caFile: credentials.ca.cert,
    apply: async (what) => {
      for (const object of typeof what === 'string' ? objectsOf(what) : what)
        await api.call('PATCH', await pathOf(api, object), {
          ...{ body: object, contentType: 'application/apply-patch+yaml' },
          query: { fieldManager: 'test', force: true },
        })
    },
    remove: async (object) => void (await api.call('DELETE', await pathOf(api, object))),
    kubeconfigOf: async (asked) =>
      credentials.kubeconfigWith(`${asked.namespace}.${asked.serviceAccount}`, await token(asked)),
    pidOf: async (pod, container) => {
      const [namespace, podName] = pod.split('/')
      const { metadata } = (await api.call('GET', `/api/v1/namespaces/${namespace}/pods/${podName}`)) as KubeObject
      const pid = pidOf(join(dir, 'pods', metadata.uid ?? '', 'containers'), container)
      if (pid === undefined) throw new Error(`${container} of ${pod} does not run`)
      return pid
    },
    logOf: (pod, container, lines = 20) =>
      tailOf(join(dir, 'logs', `${pod.replace('/', '.')}.${container}.log`), lines),
    settled: async () => {
      const mark = `/version?mark=${performance.now()}`
      await api.call('GET', mark)
      await eventually(20_000, 'the audit log has it', () =>
        audit.entries('admin').some(({ requestURI }) => requestURI === mark),
      )
    },
    stop: async () => {
      await node?.kill()
      await plane.stop()
      await site.close()
      if (process.env['ISTHMUS_KEEP'] === undefined) rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** What was compiled once is not compiled again. */
const environment =
  process.env['NODE_COMPILE_CACHE'] === undefined ? {} : { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] }

function objectsOf(yaml: string): KubeObject[] {
  return parseAllDocuments(yaml).flatMap((document) => {
    const object: KubeObject | null = document.toJS()
    return object === null ? [] : [object]
  })
}
