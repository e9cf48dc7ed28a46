import { existsSync } from 'node:fs'
import { request } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { imagesOf } from '#tests/support/kubernetes/images.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { eventually } from '#tests/support/until.ts'

describeWithClusters('pods', () => {
  let cluster: KubeCluster
  beforeAll(async () => {
    cluster = await startKubeCluster({
      ...{ name: 'one', images: imagesOf() },
      nodes: [
        { name: 'node-a', region: 'us-east-1', zone: 'us-east-1a' },
        { name: 'node-b', region: 'us-east-1', zone: 'us-east-1b' },
      ],
    })
    await cluster.apply([deployment(2, 'v1'), service])
  })
  afterAll(() => cluster?.stop())

  test('of a Deployment run on all nodes, and are endpoints when they are ready', async () => {
    const ready = await eventually(60_000, 'two endpoints are ready', async () => {
      const found = await endpoints()
      return found.length === 2 && found.every(({ ready }) => ready) && found
    })
    expect(new Set(ready.map(({ node }) => node))).toEqual(new Set(['node-a', 'node-b']))
    expect(new Set(ready.map(({ zone }) => zone))).toEqual(new Set(['us-east-1a', 'us-east-1b']))
  })

  test('are reached at the address of their load balancer, by turns, and find Services by name', async () => {
    const address = await balancer()
    const seen = new Set<string>()
    await eventually(20_000, 'both have answered', async () => {
      seen.add((await call(address)).pod)
      return seen.size === 2
    })
    for (const pod of seen) expect(pod).toMatch(/^web-/)
  })

  test('a rolling update loses no call', async () => {
    const address = await balancer()
    const calls = callingOf(address)
    await cluster.apply([deployment(2, 'v2')])
    await eventually(60_000, 'only the new version answers', async () => {
      const found = await endpoints()
      const { version } = await call(address)
      return version === 'v2' && found.length === 2 && found.every(({ ready }) => ready)
    })
    const { failed, answered } = await calls.stop()
    expect(failed).toEqual([])
    expect(answered).toBeGreaterThan(0)
  })

  test('scaled to 0 none is left, and scaled back there are two', async () => {
    await cluster.apply([deployment(0, 'v2')])
    await eventually(60_000, 'no pod is left', async () => (await pods()).length === 0)
    expect(await endpoints()).toEqual([])
    await expect(call(await balancer())).rejects.toThrow()
    await cluster.apply([deployment(2, 'v2')])
    await eventually(60_000, 'two are ready', async () => (await endpoints()).filter(({ ready }) => ready).length === 2)
  })

  test('have their volumes, tokens, init containers and sidecars, and what changes in a ConfigMap', async () => {
    await cluster.apply([settings('first'), made])
    const ip = await eventually(60_000, 'it is ready', async () => {
      const { status } = await podNamed('made')
      return status.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') && status.podIP
    })
    const inside = async (path: string) => JSON.parse(await cluster.run(process.execPath, '-e', printed(ip, path)))
    expect(await inside('/file?/var/run/isthmus/kept/note')).toMatchObject({ text: 'made\n' })
    expect(await inside('/file?/etc/isthmus/word')).toMatchObject({ text: 'first' })
    expect(await inside('/lookup?web')).toMatchObject({ addresses: [expect.stringMatching(/^10\.96\./)] })
    expect(await inside('/lookup?nobody')).toMatchObject({ fault: expect.stringContaining('ENOTFOUND') })
    const { text } = await inside('/file?/var/run/secrets/tokens/istio-token')
    expect(JSON.parse(Buffer.from(text.split('.')[1], 'base64url').toString('utf8'))).toMatchObject({
      aud: ['istio-ca'],
      'kubernetes.io': { pod: { name: 'made' } },
    })
    await cluster.apply([settings('second')])
    await eventually(
      20_000,
      'the file says it',
      async () => (await inside('/file?/etc/isthmus/word')).text === 'second',
    )
  })

  test('a container that is killed is started again, and its pod is not ready meanwhile', async () => {
    const pid = await cluster.pidOf('default/made', 'web')
    process.kill(pid, 'SIGKILL')
    await eventually(60_000, 'it runs again', async () => {
      const { status } = await podNamed('made')
      const [web] = status.containerStatuses ?? []
      return web?.restartCount === 1 && web.ready
    })
    expect(await cluster.pidOf('default/made', 'web')).not.toBe(pid)
  })

  test('deleted by force it is gone, however long it would take', async () => {
    await cluster.apply([stubborn])
    const path = '/api/v1/namespaces/default/pods/stubborn'
    await eventually(60_000, 'it runs', async () => (await podNamed('stubborn')).status.containerStatuses?.[0]?.ready)
    const pid = await cluster.pidOf('default/stubborn', 'main')
    await cluster.api.call('DELETE', path)
    await expect(cluster.api.call('GET', path)).resolves.toMatchObject({
      metadata: { deletionGracePeriodSeconds: 600 },
    })
    await cluster.api.call('DELETE', path, { body: { gracePeriodSeconds: 0 } })
    await eventually(20_000, 'its program has ended', () => !existsSync(`/proc/${pid}`))
  })

  test('a Job ends, its sidecar with it', async () => {
    await cluster.apply([job])
    await eventually(60_000, 'it is complete', async () => {
      const path = '/apis/batch/v1/namespaces/default/jobs/once'
      const { status } = (await cluster.api.call('GET', path)) as { readonly status: { readonly succeeded?: number } }
      return status.succeeded === 1
    })
  })

  type PodObject = {
    readonly status: {
      readonly podIP?: string
      readonly conditions?: readonly { readonly type: string; readonly status: string }[]
      readonly containerStatuses?: readonly { readonly restartCount: number; readonly ready: boolean }[]
    }
  }
  const podNamed = async (name: string) =>
    (await cluster.api.call('GET', `/api/v1/namespaces/default/pods/${name}`)) as PodObject

  const pods = async (): Promise<readonly unknown[]> => {
    const list = await cluster.api.call('GET', '/api/v1/namespaces/default/pods', {
      query: { labelSelector: 'app=web' },
    })
    return (list as { readonly items: readonly unknown[] }).items
  }

  type Slices = {
    readonly items: readonly {
      readonly endpoints: readonly {
        readonly conditions: { readonly ready: boolean }
        readonly nodeName: string
        readonly zone: string
      }[]
    }[]
  }
  async function endpoints() {
    const { items } = (await cluster.api.call('GET', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
      query: { labelSelector: 'kubernetes.io/service-name=web' },
    })) as Slices
    return items
      .flatMap(({ endpoints: some }) => some ?? [])
      .map(({ conditions, nodeName, zone }) => ({ ready: conditions.ready, node: nodeName, zone }))
  }

  const balancer = () =>
    eventually(20_000, 'the Service has an address', async () => {
      const found = (await cluster.api.call('GET', '/api/v1/namespaces/default/services/web')) as {
        readonly status: { readonly loadBalancer: { readonly ingress?: readonly { readonly ip: string }[] } }
      }
      return found.status.loadBalancer.ingress?.[0]?.ip
    })
})

const service = {
  ...{ apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' } },
  spec: { type: 'LoadBalancer', selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
}

const deployment = (replicas: number, version: string) => ({
  ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } },
  spec: {
    ...{ replicas, selector: { matchLabels: { app: 'web' } } },
    strategy: { rollingUpdate: { maxUnavailable: 0, maxSurge: 1 } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        terminationGracePeriodSeconds: 10,
        securityContext: { runAsNonRoot: true, runAsUser: 65_532 },
        containers: [
          {
            ...{ name: 'web', image: `registry.test/http-app:${version}` },
            env: [
              { name: 'VERSION', value: version },
              { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
            ],
            ports: [{ name: 'http', containerPort: 8080 }],
            securityContext: { readOnlyRootFilesystem: true },
            readinessProbe: { httpGet: { path: '/ready', port: 'http' }, periodSeconds: 1 },
            lifecycle: { preStop: { sleep: { seconds: 1 } } },
          },
        ],
      },
    },
  },
})

const settings = (word: string) => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'settings' }, data: { word } },
})

const sidecar = { name: 'side', image: 'registry.test/sh', args: ['sleep 1000'], restartPolicy: 'Always' }

const made = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'made' } },
  spec: {
    terminationGracePeriodSeconds: 1,
    initContainers: [
      sidecar,
      {
        ...{ name: 'note', image: 'registry.test/sh', args: ['echo $(NAME) > /kept/note'] },
        env: [{ name: 'NAME', value: 'made' }],
        volumeMounts: [{ name: 'kept', mountPath: '/kept' }],
      },
    ],
    containers: [
      {
        ...{ name: 'web', image: 'registry.test/http-app:v1' },
        readinessProbe: { httpGet: { path: '/ready', port: 8080 }, periodSeconds: 1 },
        volumeMounts: [
          { name: 'kept', mountPath: '/var/run/isthmus/kept', readOnly: true },
          { name: 'settings', mountPath: '/etc/isthmus' },
          { name: 'token', mountPath: '/var/run/secrets/tokens' },
          { name: 'gone', mountPath: '/var/run/gone' },
        ],
      },
    ],
    volumes: [
      { name: 'kept', emptyDir: {} },
      { name: 'settings', configMap: { name: 'settings' } },
      { name: 'gone', secret: { secretName: 'nobody', optional: true } },
      {
        name: 'token',
        projected: {
          sources: [{ serviceAccountToken: { audience: 'istio-ca', path: 'istio-token', expirationSeconds: 3600 } }],
        },
      },
    ],
  },
}

const stubborn = {
  ...{ apiVersion: 'v1', kind: 'Pod', metadata: { name: 'stubborn' } },
  spec: {
    terminationGracePeriodSeconds: 600,
    containers: [{ name: 'main', image: 'registry.test/sh', args: ['trap : TERM; while :; do sleep 1; done'] }],
  },
}

const job = {
  ...{ apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'once' } },
  spec: {
    template: {
      spec: {
        ...{ restartPolicy: 'Never', terminationGracePeriodSeconds: 1 },
        initContainers: [sidecar],
        containers: [{ name: 'work', image: 'registry.test/sh', args: ['true'] }],
      },
    },
  },
}

/** A program that prints what a pod answers: only the cluster itself reaches it. */
const printed = (ip: string, path: string): string =>
  `require('http').get('http://${ip}:8080${path}', (answer) => answer.pipe(process.stdout))`

type Answer = { readonly pod: string; readonly version: string }

/** One call on a connection of its own. */
function call(host: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    request({ host, port: 80, path: '/', agent: false, timeout: 20_000 }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (piece: string) => {
        text += piece
      })
      answer.on('error', reject).on('end', () => resolve(JSON.parse(text) as Answer))
    })
      .on('error', reject)
      .end()
  })
}

/** One call after the other until `stop`. */
function callingOf(host: string) {
  const failed: string[] = []
  let answered = 0
  let over = false
  const calling = (async () => {
    while (!over) {
      await call(host).then(
        () => answered++,
        (fault: Error) => failed.push(fault.message),
      )
      await new Promise((next) => setTimeout(next, 10))
    }
  })()
  return {
    stop: async () => {
      over = true
      await calling
      return { failed, answered }
    },
  }
}
