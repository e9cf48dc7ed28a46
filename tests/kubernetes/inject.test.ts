import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { V1Job, V1Pod } from '@kubernetes/client-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCli } from '#cli/run.ts'
import { send } from '#cli/send.ts'
import { type FleetCentre, fleetCentre } from '#tests/support/fleet-centre.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { isthmusImages } from '#tests/support/kubernetes/isthmus-images.ts'
import { lan } from '#tests/support/kubernetes/lan.ts'
import { openSwitch } from '#tests/support/kubernetes/network.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { programPath } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

// Workloads as their users write them, through `isthmus inject`, and applied as they come out of it: nothing else makes
// them part of the mesh. The redirection is the kernel's.

const registry = 'registry.test'

/** Says who called it, by the mesh's own word; a second port tells nothing and is not redirected. */
const echo = `
const { createServer } = require('node:http')
const answer = (ask, reply) => reply.end(ask.headers['x-forwarded-client-cert'] ?? 'nobody')
createServer(answer).listen(8080, '0.0.0.0')
createServer(answer).listen(9100, '0.0.0.0')
process.on('SIGTERM', () => process.exit(0))
`
/** Asks, says what it heard, and is done; once more where the mesh has not heard of anybody yet who could answer. */
const ask = `
const again = (left) => fetch(process.argv[1]).then(async (answer) => {
  const text = await answer.text()
  if (answer.status !== 503 || left === 0) return console.log('heard', answer.status, text)
  await new Promise((next) => setTimeout(next, 500))
  return again(left - 1)
}).catch((error) => console.log('heard', error.cause?.code ?? error.message))
again(60)
`
const node = [process.execPath, '-e']

const shop = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
`
const web = `
apiVersion: v1
kind: ServiceAccount
metadata:
  name: web
  namespace: shop
---
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: shop
spec:
  selector:
    app: web
  ports:
  - name: http
    port: 80
    targetPort: http
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
spec:
  replicas: 1
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
      annotations:
        traffic.sidecar.istio.io/excludeInboundPorts: "9100"
    spec:
      serviceAccountName: web
      containers:
      - name: web
        image: registry.test/echo:1
        ports:
        - name: http
          containerPort: 8080
        - name: metrics
          containerPort: 9100
        readinessProbe: # a kubelet has no certificate
          httpGet:
            path: /ready
            port: http
          periodSeconds: 1
        livenessProbe:
          tcpSocket:
            port: http
          periodSeconds: 1
`
const asking = (name: string, url: string): string => `
apiVersion: batch/v1
kind: Job
metadata: {name: ${name}, namespace: shop}
spec:
  backoffLimit: 0
  template:
    metadata: {labels: {app: ${name}}}
    spec:
      restartPolicy: Never
      containers:
      - name: ask
        image: registry.test/ask:1
        args: ["${url}"]
`

describeWithClusters('isthmus inject, exactly as it prints', () => {
  let dir: string
  let centre: FleetCentre
  let paris: KubeCluster
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'isthmus-inject-'))
    mkdirSync(join(dir, 'centre'))
    await openSwitch(lan.device, `${lan.test}/${lan.bits}`)
    const program = await programPath('centre')
    const log = join(dir, 'centre.log')
    centre = fleetCentre({ program, host: lan.test, port: 7400, dir: join(dir, 'centre'), log })
    const images = {
      ...(await isthmusImages(registry)),
      'registry.test/echo': { command: [...node, echo] },
      'registry.test/ask': { command: [...node, ask] },
    }
    ;[paris] = await Promise.all([startKubeCluster({ name: 'paris', images }), centre.start()])
    await paris.apply(shop)
    await run(`cluster join paris-1 --gateway-replicas 1 --timeout 120s --kubeconfig ${paris.kubeconfig}`)
    await paris.apply(await injected('web', web))
  }, 300_000)
  afterAll(async () => {
    await Promise.all([paris?.stop(), centre?.stop()])
    rmSync(dir, { recursive: true, force: true })
  })

  async function run(line: string): Promise<string> {
    let [out, err] = ['', '']
    const code = await runCli(line.split(' '), {
      env: {
        ...{ ISTHMUS_URL: `https://${centre.host}:${centre.port}`, ISTHMUS_CA_FILE: centre.caFile },
        ...{ ISTHMUS_API_KEY: readFileSync(join(dir, 'centre/admin.key'), 'utf8'), ISTHMUS_REGISTRY: registry },
      },
      out: (text) => {
        out += text
      },
      err: (text) => {
        err += text
      },
      ...{ now: Date.now, colour: false, send },
    })
    expect([code, err]).toEqual([0, ''])
    return out
  }

  async function injected(name: string, text: string): Promise<string> {
    const file = join(dir, `${name}.yaml`)
    writeFileSync(file, text)
    return await run(`inject -f ${file} --cluster paris-1`)
  }

  const get = async <T>(path: string): Promise<T> => (await paris.api.call('GET', path)) as T
  const podOf = async (app: string): Promise<V1Pod> => {
    const { items } = await get<{ items: V1Pod[] }>(`/api/v1/namespaces/shop/pods?labelSelector=app%3D${app}`)
    const [only] = items
    if (!only) throw new Error(`there is no pod of ${app}`)
    return only
  }
  const isReady = ({ status }: V1Pod): boolean =>
    status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') === true
  const webReady = () =>
    eventually(90_000, 'web is ready', async () => {
      const pod = await podOf('web')
      return isReady(pod) && pod
    })
  /** Runs a Job to its end; what it heard. */
  async function heardBy(name: string, manifest: string): Promise<string> {
    await paris.apply(manifest)
    const path = `/apis/batch/v1/namespaces/shop/jobs/${name}`
    await eventually(90_000, `${name} has ended`, async () => (await get<V1Job>(path)).status?.succeeded === 1)
    const pod = await podOf(name)
    expect(pod.status?.phase).toBe('Succeeded')
    return /heard (.*)/.exec(paris.logOf(`shop/${pod.metadata?.name}`, 'ask', 20))?.[1] ?? ''
  }

  test('a pod is ready where mutual TLS is asked for: its own probes are made from within', async () => {
    const pod = await webReady()
    expect(pod.status?.initContainerStatuses?.map(({ name, ready }) => [name, ready])).toEqual([
      ['isthmus-redirect', expect.anything()],
      ['isthmus-proxy', true],
    ])
    expect(pod.status?.containerStatuses?.[0]?.restartCount).toBe(0)
  })

  test('an unmodified program calls another by its name, by mutual TLS, and its Job ends', async () => {
    await webReady()
    const heard = await heardBy('asker', await injected('asker', asking('asker', 'http://web.shop/')))
    expect(heard).toMatch(/^200 .*URI=spiffe:\/\/paris-1\.[^/]+\/ns\/shop\/sa\/default/)
  })

  test('who has no proxy is refused, but for ports that are excluded', async () => {
    const ip = (await webReady()).status?.podIP ?? ''
    expect(await heardBy('stranger', asking('stranger', 'http://web.shop/'))).toMatch(
      /^(ECONNRESET|UND_ERR_SOCKET|EPIPE)/,
    )
    expect(await heardBy('scraper', asking('scraper', `http://${ip}:9100/`))).toBe('200 nobody')
  })
})
