import { setTimeout as pause } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { contextAccess } from '#cli/onboard/access.ts'
import { type ClusterApi, clusterApi } from '#cli/onboard/cluster-api.ts'
import { joinCluster } from '#cli/onboard/join.ts'
import { leaveCluster } from '#cli/onboard/leave.ts'
import { runCli } from '#cli/run.ts'
import type { Send } from '#cli/send.ts'
import { openTestCentre, type TestCentre } from '#tests/support/centre.ts'
import { said } from '#tests/support/kubernetes/audit.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { everything } from '#tests/support/kubernetes/kinds.ts'
import { playMember } from '#tests/support/kubernetes/played-member.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { eventually } from '#tests/support/until.ts'

// `isthmus cluster join` and `leave` against a real API server with its real controllers, and a real centre in this process.
// What would run in pods (the relay, and a kubelet for it) is played: what it does by itself has suites of its own.

describeWithClusters('a Kubernetes cluster joins and leaves by command', () => {
  let cluster: KubeCluster
  let centre: TestCentre
  let stopPlaying: () => Promise<void>
  /** Between two looks of the players, by the centre's clock. */
  let lookMs = 100

  beforeAll(async () => {
    ;[cluster, centre] = await Promise.all([startKubeCluster({ name: 'paris' }), openTestCentre()])
    await cluster.apply([
      {
        ...{ apiVersion: 'v1', kind: 'Node' },
        metadata: { name: 'node-1', labels: { 'topology.kubernetes.io/region': 'eu-west-3' } },
      },
    ])
    stopPlaying = playMember({ cluster, centre, name: 'paris-1', place, lookMs: () => lookMs })
  })
  afterAll(async () => {
    await stopPlaying?.()
    await Promise.all([cluster?.stop(), centre?.close()])
  })

  const send: Send = async (url, { method = 'GET', headers = {}, body }) => {
    const asked = { method, headers: new Headers(headers), ...(body === undefined ? {} : { body }) }
    const response = await centre.api.request(url.href, asked)
    return { status: response.status, text: await response.text() }
  }

  async function run(line: string): Promise<{ readonly code: number; readonly text: string; readonly out: string }> {
    let [out, err] = ['', '']
    const words = line.split(' ')
    const code = await runCli([...words, '--kubeconfig', cluster.kubeconfig], {
      env: {
        ISTHMUS_URL: 'https://centre.test:7400',
        ISTHMUS_API_KEY: centre.adminKey,
        ISTHMUS_REGISTRY: 'registry.test',
      },
      out: (text) => {
        out += text
      },
      err: (text) => {
        err += text
      },
      ...{ now: () => centre.clock.now, colour: false, send },
    })
    return { code, out, text: out + err }
  }

  const place = { network: 'paris-1', region: 'eu-west-3' }

  /** A kind that was just defined is not served at once. */
  const all = () => eventually(30_000, 'every kind is served', () => everything(cluster.api))

  const commandWrites = (since: ReturnType<KubeCluster['audit']['fromNow']>) =>
    since.writes().filter(({ userAgent }) => userAgent === 'isthmus')

  test('--dry-run prints what would be applied, and writes nothing', async () => {
    const audit = cluster.audit.fromNow()
    const { code, out, text } = await run('cluster join paris-1 --dry-run')
    await cluster.settled()
    expect(text).toContain('region eu-west-3 (by its nodes), network paris-1 (its own)')
    expect(code).toBe(0)
    expect(parseAllDocuments(out).map((document) => document.get('kind'))).toContain('Deployment')
    expect(commandWrites(audit).map(said)).toEqual([])
    expect((await centre.admin('GET', '/v1/clusters/paris-1')).status).toBe(404)
  })

  let before: ReadonlyMap<string, string>
  let after: ReadonlyMap<string, string>

  test('joins, and the token is taken back', async () => {
    before = await all()
    const { code, text } = await run('cluster join paris-1')
    expect(text).toContain('172.20.1.9:15443 ready')
    expect(code).toBe(0)
    after = await all()
    expect([...after.keys()]).toEqual(
      expect.arrayContaining(['Deployment isthmus-system/relay', 'Secret isthmus-system/relay']),
    )
    expect([...after.keys()]).not.toContain('Secret isthmus-system/relay-join')
  })

  test('a second run writes nothing', async () => {
    const audit = cluster.audit.fromNow()
    const { code, text } = await run('cluster join paris-1')
    await cluster.settled()
    expect(commandWrites(audit).map(said)).toEqual([])
    expect(text).toContain('nothing was to be changed')
    expect(code).toBe(0)
  })

  test('a field that somebody else keeps is shown with its owner, and not taken', async () => {
    const scaled = {
      ...{ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'relay', namespace: 'isthmus-system' } },
      spec: { replicas: 3 },
    }
    await cluster.apply([scaled])
    const audit = cluster.audit.fromNow()
    const { code, text } = await run('cluster join paris-1')
    await cluster.settled()
    expect(code).toBe(1)
    expect(text).toMatch(/Deployment isthmus-system\/relay \.spec\.replicas \(conflict with "test"/)
    expect(commandWrites(audit).map(said)).toEqual([])
    const body = { ...scaled, spec: {} }
    const query = { fieldManager: 'test', force: true }
    const path = '/apis/apps/v1/namespaces/isthmus-system/deployments/relay'
    await cluster.api.call('PATCH', path, { body, query, contentType: 'application/apply-patch+yaml' })
    expect((await run('cluster join paris-1')).code).toBe(0)
    expect(await all()).toEqual(after)
  })

  test('another cluster does not join in its place, and it does not join under another name', async () => {
    const { code, text } = await run('cluster join rome-1')
    expect(text).toContain('is cluster "paris-1" already')
    expect(code).toBe(1)
  })

  test('leaves: nothing of ours remains, all else is as it was', async () => {
    lookMs = 5000
    const { code, text } = await run('cluster leave paris-1 --over 0s --grace 0s')
    expect(text).toContain('paris-1 has left')
    expect(code).toBe(0)
    await eventually(20_000, 'all is as it was', async () => expect(await everything(cluster.api)).toEqual(before))
    expect((await centre.admin('GET', '/v1/clusters/paris-1')).body['state']).toBe('left')
  })

  /** The API as the command has it, cut off after `left` more writes. */
  function cutAfter(left: number): ClusterApi {
    const api = clusterApi(contextAccess({ kubeconfig: cluster.kubeconfig }, {}))
    let more = left
    const count = (method: string, query: object = {}) => {
      if (method === 'GET' || method === 'POST' || 'dryRun' in query) return
      if (more === 0) throw new Error('cut off')
      more -= 1
    }
    return {
      ...api,
      call: async (method, path, asked) => {
        count(method, asked?.query)
        return api.call(method, path, asked)
      },
      remove: async (path, body) => {
        count('DELETE')
        return api.remove(path, body)
      },
    }
  }

  /** Runs it again and again, each time cut off after one more write; gives how many runs there were. */
  async function inPieces(run: (api: ClusterApi) => Promise<unknown>): Promise<number> {
    for (let runs = 1; ; runs++)
      try {
        await run(cutAfter(1))
        return runs
      } catch (fault) {
        expect((fault as Error).message).toBe('cut off')
      }
  }
  const centreOf = () => ({ url: 'https://centre.test:7400', key: centre.adminKey, relays: {}, send })
  const quiet = () => undefined

  test('cut off after each of its writes, a join ends the same', async () => {
    lookMs = 100
    const images = { relay: 'registry.test/isthmus-relay:0.1.0', proxy: 'registry.test/isthmus-proxy:0.1.0' }
    const wish = { cluster: 'paris-1', images, addresses: [], gatewayReplicas: 2, isPublic: false }
    const waiting = { say: quiet, now: () => performance.now(), pause, timeoutMs: 30_000 }
    const runs = await inPieces((api) =>
      joinCluster({ api, centre: centreOf(), wish, clock: () => centre.clock.now, ...waiting }),
    )
    expect(runs).toBeGreaterThan(20)
    // It came back: one generation later, and to other addresses.
    const again = (objects: ReadonlyMap<string, string>) =>
      [...objects].flatMap(([key, text]) =>
        key.startsWith('IPAddress ')
          ? []
          : [[key, text.replaceAll('-g2.', '.').replaceAll(/10\.96\.\d+\.\d+|"nodePort":\d+/g, 'given')]],
      )
    expect(again(await all())).toEqual(again(after))
  })

  test('cut off after each of its writes, a leave ends the same', async () => {
    lookMs = 5000
    const times = { overSeconds: 0, graceSeconds: 0 }
    const runs = await inPieces((api) =>
      leaveCluster({ api, centre: centreOf(), cluster: 'paris-1', say: quiet, ...times }),
    )
    expect(runs).toBeGreaterThan(20)
    await eventually(20_000, 'all is as it was', async () => expect(await everything(cluster.api)).toEqual(before))
  })
})
