import { describe, expect, test } from 'vitest'
import type { Asked, KubeApi } from '#gateway/kube-api.ts'
import { kubernetesWriter, type WriterParts } from '#gateway/status/kubernetes-writer.ts'
import { seenObjects, seenParsers } from '#gateway/status/seen-objects.ts'
import { parseRange, settledAddresses } from '#mesh/mcs/addresses.ts'
import { emptyOwn, seenOf, viewOf } from '#mesh/mcs/testing/two-clusters.ts'
import { wantedObjects } from '#mesh/mcs/wanted.ts'
import { Problem } from '#mesh/model/problem.ts'
import type { View } from '#mesh/model/view.ts'

type Body = { readonly [field: string]: unknown; readonly metadata?: Record<string, unknown> }
type Kept = Body & { readonly metadata: Record<string, unknown> }
const log = { warn: () => undefined, info: () => undefined }
const kinds: Readonly<Record<string, string>> = {
  ...{ serviceimports: 'ServiceImport', endpointslices: 'EndpointSlice', serviceexports: 'ServiceExport' },
  ...{ samenessgroups: 'SamenessGroup', namespaces: 'Namespace' },
}

/** An API server in memory that applies and removes; `fault` answers in its place. */
function fakeServer(drops: readonly string[] = []) {
  const objects = new Map<string, Kept>()
  const asked: string[] = []
  let version = 1
  let fault: (method: string, path: string) => Problem | undefined = () => undefined
  const put = (kind: string, id: string, object: Body): void => {
    const [name, namespace] = id.split('/').toReversed()
    const metadata = { name, namespace, uid: `uid-${id}`, ...object.metadata, resourceVersion: `${++version}` }
    objects.set(`${kind} ${id}`, { ...object, metadata })
  }
  const call = async (method: string, path: string, { body = {}, query = {} }: Asked = {}): Promise<unknown> => {
    asked.push(`${method} ${path}`)
    const problem = fault(method, path)
    if (problem) throw problem
    const [, namespace, resource = '', name = '', sub] =
      /\/apis\/[^/]+\/[^/]+(?:\/namespaces\/([^/]+))?\/([^/]+)\/([^/]+)(?:\/(status))?$/.exec(path) ?? []
    const key = `${kinds[resource]} ${namespace === undefined ? name : `${namespace}/${name}`}`
    const there = objects.get(key)
    if (method === 'DELETE') {
      const { preconditions } = body as { preconditions: { resourceVersion: string } }
      if (!there) throw new Problem('not-found', 'no such object')
      if (preconditions.resourceVersion !== there.metadata['resourceVersion']) throw new Problem('stale', 'moved on')
      objects.delete(key)
      return {}
    }
    if (sub && !there) throw new Problem('not-found', 'no such object')
    const said = body as Kept
    if (there && !sub && !query['force']) throw new Problem('conflict', 'owned by another')
    const wants = said.metadata['resourceVersion']
    if (wants !== undefined && wants !== there?.metadata['resourceVersion']) throw new Problem('stale', 'moved on')
    const kept = Object.fromEntries(Object.entries(said).filter(([field]) => !drops.includes(field)))
    const { resourceVersion: _, ...metadata } = said.metadata
    put(key.split(' ')[0] ?? '', key.split(' ')[1] ?? '', {
      ...there,
      ...kept,
      metadata: { ...there?.metadata, ...metadata },
    })
    return objects.get(key)
  }
  const also = (kind: string): ReadonlyMap<string, unknown> =>
    new Map(
      [...objects]
        .filter(([key]) => key.startsWith(`${kind} `))
        .flatMap(([key, object]) => {
          const seen = seenParsers[kind]?.(object)
          return seen === undefined ? [] : [[key.slice(kind.length + 1), seen]]
        }),
    )
  return {
    objects,
    asked,
    put,
    also,
    call: call as KubeApi['call'],
    fail: (next: typeof fault) => {
      fault = next
    },
    writes: () => asked.splice(0),
  }
}

const range = parseRange('241.0.0.0/24')

function open(
  server: ReturnType<typeof fakeServer>,
  more: Partial<WriterParts> & { view?: () => View | undefined } = {},
) {
  const { view = () => viewOf(), ...parts } = more
  let at = 0
  const writer = kubernetesWriter({
    ...{ api: server, log, isLeader: () => true, now: () => at, random: () => 0.5 },
    sight: () => {
      const seen = seenObjects(server.also)
      const now = view()
      if (!now?.config) return undefined
      const imports = new Map(
        [...seen.imports].map(([key, { spec }]) => [
          key,
          { key, createdAt: 1, parts: spec.parts, ...(spec.ips[0] ? { ip: spec.ips[0] } : {}) },
        ]),
      )
      const full = { ...now, config: now.config, clusterSet: settledAddresses(imports, range) }
      return {
        seen,
        mcsVersion: 'v1beta1',
        wanted: wantedObjects({ view: full, seen, rejected: [], remarks: [], range }),
      }
    },
    ...{ ...parts, limits: { paceMs: 0, ...parts.limits } },
  })
  /** Looks, and again, until nothing more is asked. */
  const settle = async (): Promise<string[]> => {
    const all: string[] = []
    for (;;) {
      writer.look()
      await writer.done()
      const now = server.writes()
      all.push(...now)
      if (now.length === 0) return all
    }
  }
  const pass = (ms: number): void => {
    at += ms
  }
  return { writer, settle, pass }
}
const started = () => {
  const server = fakeServer()
  server.put('Namespace', 'shop', {})
  return server
}

describe('what is wanted', () => {
  test('is written once, imports before their slices, and then never again', async () => {
    const server = started()
    server.put('ServiceExport', 'shop/web', {})
    server.put('SamenessGroup', 'prod', {})
    const { settle, writer } = open(server)
    const writes = await settle()
    expect(writes.filter((one) => !one.includes('/status')).map((one) => one.replace(/-[0-9a-f]{8}$/, ''))).toEqual([
      'PATCH /apis/multicluster.x-k8s.io/v1beta1/namespaces/shop/serviceimports/db',
      'PATCH /apis/multicluster.x-k8s.io/v1beta1/namespaces/shop/serviceimports/web',
      'PATCH /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-near',
    ])
    expect(writes.filter((one) => one.includes('/status'))).toHaveLength(4)
    const slice = [...server.objects].find(([key]) => key.startsWith('EndpointSlice'))?.[1]
    expect(slice?.metadata).toMatchObject({
      labels: {
        'multicluster.kubernetes.io/service-name': 'web',
        'multicluster.kubernetes.io/source-cluster': 'near',
        'endpointslice.kubernetes.io/managed-by': 'relay.isthmus.dev',
      },
      ownerReferences: [{ kind: 'ServiceImport', name: 'web', uid: 'uid-shop/web' }],
    })
    expect(await settle()).toEqual([])
    await writer.stop()
  })

  test('what was changed by hand is put right, and a condition that stands keeps its time', async () => {
    const server = started()
    const { settle, pass } = open(server)
    await settle()
    const before = server.objects.get('ServiceImport shop/web')
    pass(60_000)
    server.put('ServiceImport', 'shop/web', { ...before, spec: { ...(before?.['spec'] as object), ports: [] } } as Body)
    await settle()
    const after = server.objects.get('ServiceImport shop/web')
    expect(after?.['spec']).toEqual(before?.['spec'])
    expect(after?.['status']).toEqual(before?.['status'])
  })

  test('what the server keeps less of than was said is not said for ever', async () => {
    const server = fakeServer(['status'])
    server.put('Namespace', 'shop', {})
    expect((await open(server).settle()).filter((one) => one.includes('/status'))).toHaveLength(2)
  })

  test('an import that ended takes its object along; a thing of somebody else stays', async () => {
    const server = started()
    let view = viewOf()
    const { settle } = open(server, { view: () => view })
    server.put('ServiceImport', 'shop/theirs', { spec: { type: 'ClusterSetIP', ports: [] } })
    await settle()
    view = viewOf({ config: { ...view.config, imports: new Map() } })
    await settle()
    expect([...server.objects.keys()].sort()).toEqual(['Namespace shop', 'ServiceImport shop/theirs'])
  })
})

describe('nothing is written', () => {
  test('while nothing is known, and by nobody but the leader', async () => {
    const server = started()
    const unknown = open(server, { view: () => undefined })
    expect(await unknown.settle()).toEqual([])
    let leads = false
    const { settle } = open(server, { isLeader: () => leads })
    expect(await settle()).toEqual([])
    leads = true
    expect((await settle()).length).toBeGreaterThan(0)
  })

  test('by one that is deposed half way', async () => {
    const server = started()
    let asks = 0
    const { settle } = open(server, { isLeader: () => ++asks <= 2 })
    expect(await settle()).toHaveLength(1)
  })

  test('over an object that somebody made meanwhile', async () => {
    const server = started()
    const { settle } = open(server, {
      sight: () => ({
        ...{ seen: seenOf({ namespaces: new Set(['shop']) }), mcsVersion: 'v1alpha1' },
        wanted: wantedObjects({ view: viewOf({ own: emptyOwn }), seen: seenOf(), rejected: [], remarks: [], range }),
      }),
    })
    server.put('ServiceImport', 'shop/web', { spec: { type: 'Headless', ports: [] } })
    await settle()
    expect(server.objects.get('ServiceImport shop/web')?.['spec']).toEqual({ type: 'Headless', ports: [] })
  })
})

describe('refusals', () => {
  const forbidden = new Problem('forbidden', 'the API server refused PATCH /x with 403: add this rule', {
    extra: { status: 403 },
  })

  test('of one object hold up no other, are tried again later, and are said with the fix', async () => {
    const server = started()
    server.fail((_, path) => (path.endsWith('serviceimports/web') ? forbidden : undefined))
    const { settle, writer, pass } = open(server)
    const first = await settle()
    expect(first.filter((one) => one.endsWith('serviceimports/web'))).toHaveLength(1)
    expect(server.objects.has('ServiceImport shop/db')).toBe(true)
    expect(writer.conditions()[0]?.message).toContain('add this rule')
    pass(2000)
    expect((await settle()).filter((one) => one.endsWith('serviceimports/web'))).toHaveLength(1)
    server.fail(() => undefined)
    pass(120_000)
    await settle()
    expect(server.objects.has('ServiceImport shop/web')).toBe(true)
    expect(writer.conditions()).toEqual([])
  })

  test('a server that is away is left alone, however often something changes', async () => {
    const server = started()
    server.fail(() => new Problem('unavailable', 'away'))
    const { settle, pass } = open(server)
    expect(await settle()).toHaveLength(1)
    expect(await settle()).toEqual([])
    pass(1000)
    expect(await settle()).toHaveLength(1)
  })

  test('a server that asks for rest gets it', async () => {
    const server = started()
    server.fail(() => new Problem('too-many', 'later', { extra: { retryAfterSeconds: 30 } }))
    const { settle, pass } = open(server)
    await settle()
    pass(29_000)
    expect(await settle()).toEqual([])
    pass(1001)
    expect(await settle()).toHaveLength(1)
  })

  test('an object that moved on is looked at again, and not forced', async () => {
    const server = started()
    const { settle, pass } = open(server)
    await settle()
    const mine = server.objects.get('ServiceImport shop/web')
    server.put('ServiceImport', 'shop/web', { ...mine, spec: { ...(mine?.['spec'] as object), ports: [] } } as Body)
    let stale = true
    server.fail((_, path) => {
      if (!stale || !path.endsWith('serviceimports/web')) return undefined
      stale = false
      return new Problem('stale', 'moved on')
    })
    await settle()
    pass(1000)
    await settle()
    expect(server.objects.get('ServiceImport shop/web')?.['spec']).toEqual(mine?.['spec'])
  })

  test('no more requests a second than are allowed', async () => {
    const server = started()
    const { settle, pass } = open(server, { limits: { perSecond: 1, burst: 2 } })
    expect(await settle()).toHaveLength(2)
    pass(1000)
    expect(await settle()).toHaveLength(1)
  })
})
