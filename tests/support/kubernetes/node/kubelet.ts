import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { V1ConfigMap, V1Node, V1Pod, V1Secret } from '@kubernetes/client-node'
import type { KubeApi } from '#gateway/kube-api.ts'
import { here, openNetwork, openSwitch } from '#tests/support/kubernetes/network.ts'
import { keyOf, mirror } from '#tests/support/kubernetes/node/mirror.ts'
import { graceOf, type Pod, startPod } from '#tests/support/kubernetes/node/pod.ts'
import { kubeletPort, type NodeSettings } from '#tests/support/kubernetes/node/settings.ts'
import { nth } from '#tests/support/kubernetes/ranges.ts'

/** The switch of all pods, and its address, which is their way out. */
const device = 'pods'
const gatewayOf = (podCidr: string): string => nth(podCidr, 1)

/** Runs the pods of all nodes of a cluster, and finds a node for those that have none. Resolves when the nodes are there. */
export async function startKubelet(api: KubeApi, settings: NodeSettings, say: (line: string) => void): Promise<void> {
  const { podCidr, egressCidr, dir } = settings
  const running = new Map<string, Pod>()
  /** The last number of an address, of which there are two: one inside, one on the LAN. */
  const numbers = new Map<string, number>()
  /** By the pod's uid. */
  const bound = new Map<string, string>()
  mkdirSync(join(dir, 'pods'), { recursive: true })
  await openSwitch(device, `${gatewayOf(podCidr)}/${podCidr.split('/')[1]}`)
  await here('ip', 'route', 'add', egressCidr, 'dev', device)
  for (const node of settings.nodes) await register(api, node, settings)

  const refresh = (): void => {
    for (const pod of running.values()) pod.refresh()
  }
  const configMaps = mirror<V1ConfigMap>(api, '/api/v1/configmaps', refresh)
  const secrets = mirror<V1Secret>(api, '/api/v1/secrets', refresh)
  const nodes = mirror<V1Node>(api, '/api/v1/nodes', () => look())
  const pods = mirror<V1Pod>(api, '/api/v1/pods', () => look())
  await Promise.all([configMaps.synced, secrets.synced, nodes.synced, pods.synced])
  look()

  function look(): void {
    const known = new Set(pods.all().map(({ metadata }) => metadata?.uid ?? ''))
    for (const [uid, pod] of running) if (!known.has(uid)) retire(uid, pod, 0)
    for (const pod of pods.all()) {
      const { uid = '', deletionTimestamp } = pod.metadata ?? {}
      const one = running.get(uid)
      if (pod.spec?.nodeName === undefined) schedule(pod)
      else if (deletionTimestamp === undefined) {
        if (!one && !isOver(pod) && isOurs(pod)) start(uid, pod)
      } else if (one) retire(uid, one, graceOf(pod))
      else if (isOurs(pod) && !numbers.has(uid)) forgetUnstarted(pod)
    }
  }

  const isOurs = ({ spec }: V1Pod): boolean => settings.nodes.some(({ name }) => name === spec?.nodeName)

  function start(uid: string, pod: V1Pod): void {
    if (numbers.has(uid)) return
    const number = freeNumber(numbers)
    numbers.set(uid, number)
    const { namespace = '' } = pod.metadata ?? {}
    open(uid, number).then(
      (network) => {
        const named =
          <T>(all: { get(key: string): T | undefined }) =>
          (name: string) =>
            all.get(`${namespace}/${name}`)
        running.set(
          uid,
          startPod({
            ...{ api, pod, network, say, hostIp: settings.address, ip: nth(podCidr, number) },
            apiServer: nth(settings.serviceCidr, 1),
            ...{ dir: join(dir, 'pods', uid), logDir: join(dir, 'logs') },
            imageOf: (image) => settings.images[image.replace(/@.*$/, '').replace(/:[^/:]*$/, '')],
            ...{ configMap: named(configMaps), secret: named(secrets) },
            resolver: `nameserver ${settings.dns}\nsearch ${namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n`,
          }),
        )
        look()
      },
      (fault) => {
        say(`${keyOf(pod)} cannot be started: ${fault.message}`)
        numbers.delete(uid)
      },
    )
  }

  /** A pod calls others from an address of the LAN that is its own: its own range may be that of another cluster, too. */
  async function open(uid: string, number: number) {
    mkdirSync(join(dir, 'pods', uid), { recursive: true })
    const network = await openNetwork(`pod ${uid}`, join(dir, 'pods', uid, 'network.log'))
    const { run, plug } = network
    await plug(`pod${number}`, device)
    const egress = nth(egressCidr, number)
    await run('ip', 'addr', 'add', `${nth(podCidr, number)}/${podCidr.split('/')[1]}`, 'dev', 'eth0')
    await run('ip', 'addr', 'add', `${egress}/32`, 'dev', 'eth0')
    await run('ip', 'route', 'add', 'default', 'via', gatewayOf(podCidr))
    await run('ip', 'route', 'add', settings.lan, 'via', gatewayOf(podCidr), 'src', egress)
    return network
  }

  const retiring = new Set<string>()
  function retire(uid: string, pod: Pod, graceMs: number): void {
    // Deleted by force, or once more with less grace.
    if (graceMs === 0) pod.kill()
    if (retiring.has(uid)) return
    retiring.add(uid)
    void pod.end(graceMs).then(() => {
      running.delete(uid)
      retiring.delete(uid)
      numbers.delete(uid)
      rmSync(join(dir, 'pods', uid), { recursive: true, force: true })
    })
  }

  /** Deleted before it was started. */
  function forgetUnstarted(pod: V1Pod): void {
    const { name, namespace, uid } = pod.metadata ?? {}
    const body = { gracePeriodSeconds: 0, preconditions: { uid } }
    api.call('DELETE', `/api/v1/namespaces/${namespace}/pods/${name}`, { body }).catch(() => undefined)
  }

  /** On the node that fits and has the fewest pods. */
  function schedule(pod: V1Pod): void {
    const { name, namespace, uid = '' } = pod.metadata ?? {}
    if (bound.has(uid)) return
    const wanted = Object.entries(pod.spec?.nodeSelector ?? {})
    const fitting = nodes
      .all()
      .filter(
        ({ metadata, spec }) => !spec?.unschedulable && wanted.every(([key, is]) => metadata?.labels?.[key] === is),
      )
      .map((node) => node.metadata?.name ?? '')
    const nodeOf = (one: V1Pod): string | undefined => one.spec?.nodeName ?? bound.get(one.metadata?.uid ?? '')
    const load = (node: string): number => pods.all().filter((one) => nodeOf(one) === node).length
    const [target] = fitting.toSorted((a, b) => load(a) - load(b))
    if (target === undefined) return
    bound.set(uid, target)
    const binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name, uid },
      target: { kind: 'Node', name: target },
    }
    api.call('POST', `/api/v1/namespaces/${namespace}/pods/${name}/binding`, { body: binding }).catch(() => {
      bound.delete(uid)
      setTimeout(look, againMs)
    })
  }
}

const againMs = 500

const isOver = ({ status }: V1Pod): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed'

function freeNumber(numbers: ReadonlyMap<string, number>): number {
  const used = new Set(numbers.values())
  for (let number = 2; ; number++) if (!used.has(number)) return number
}

/** Ready at once and for good: nobody here gives up a node that says nothing. */
async function register(
  api: KubeApi,
  { name, region, zone }: NodeSettings['nodes'][number],
  { address }: NodeSettings,
) {
  const labels = {
    'kubernetes.io/hostname': name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': process.arch === 'x64' ? 'amd64' : process.arch,
    'topology.kubernetes.io/region': region,
    'topology.kubernetes.io/zone': zone,
  }
  const capacity = { cpu: '64', memory: '256Gi', pods: '250' }
  await api.call('PATCH', `/api/v1/nodes/${name}`, {
    body: { apiVersion: 'v1', kind: 'Node', metadata: { name, labels }, spec: {} },
    query: { fieldManager: 'kubelet' },
    contentType: 'application/apply-patch+yaml',
  })
  await api.call('PATCH', `/api/v1/nodes/${name}/status`, {
    body: {
      status: {
        ...{ capacity, allocatable: capacity, addresses: [{ type: 'InternalIP', address }] },
        daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
        conditions: [{ type: 'Ready', status: 'True', reason: 'KubeletReady' }],
      },
    },
    contentType: 'application/strategic-merge-patch+json',
  })
}
