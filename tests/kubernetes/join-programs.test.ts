import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runCli } from '#cli/run.ts'
import { send } from '#cli/send.ts'
import { type FleetCentre, fleetCentre } from '#tests/support/fleet-centre.ts'
import { said } from '#tests/support/kubernetes/audit.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { isthmusImages } from '#tests/support/kubernetes/isthmus-images.ts'
import { everything } from '#tests/support/kubernetes/kinds.ts'
import { lan } from '#tests/support/kubernetes/lan.ts'
import { openSwitch } from '#tests/support/kubernetes/network.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { programPath } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

// Relays and gateways as they are, in pods of a real cluster, installed by the command and by nothing else.

const registry = 'registry.test'

describeWithClusters('isthmus cluster join, with all that it installs', () => {
  let dir: string
  let centre: FleetCentre
  let paris: KubeCluster
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'isthmus-join-'))
    mkdirSync(join(dir, 'centre'))
    await openSwitch(lan.device, `${lan.test}/${lan.bits}`)
    const program = await programPath('centre')
    centre = fleetCentre({
      program,
      host: lan.test,
      port: 7400,
      dir: join(dir, 'centre'),
      log: join(dir, 'centre.log'),
    })
    const images = await isthmusImages(registry)
    ;[paris] = await Promise.all([startKubeCluster({ name: 'paris', images }), centre.start()])
  })
  afterAll(async () => {
    await Promise.all([paris?.stop(), centre?.stop()])
    rmSync(dir, { recursive: true, force: true })
  })

  async function run(cluster: KubeCluster, line: string) {
    let text = ''
    const more = (some: string) => {
      text += some
    }
    const begun = performance.now()
    const code = await runCli([...line.split(' '), '--kubeconfig', cluster.kubeconfig], {
      env: {
        ...{ ISTHMUS_URL: `https://${centre.host}:${centre.port}`, ISTHMUS_CA_FILE: centre.caFile },
        ...{ ISTHMUS_API_KEY: readFileSync(join(dir, 'centre/admin.key'), 'utf8'), ISTHMUS_REGISTRY: registry },
      },
      ...{ out: more, err: more, now: Date.now, colour: false, send },
    })
    return { code, text, seconds: (performance.now() - begun) / 1000 }
  }

  const relay = 'system:serviceaccount:isthmus-system:relay'
  let before: ReadonlyMap<string, string>

  test('a cluster joins, and its relay and gateway work', async () => {
    before = await everything(paris.api)
    const { code, text, seconds } = await run(paris, 'cluster join paris-1 --gateway-replicas 1 --timeout 90s')
    expect(text).toMatch(/172\.20\.\d+\.\d+:15443 ready/)
    expect(code).toBe(0)
    process.stderr.write(`joined in ${seconds.toFixed(1)} s\n`)
  })

  test('a second run changes nothing', async () => {
    const audit = paris.audit.fromNow()
    const { code, text } = await run(paris, 'cluster join paris-1 --gateway-replicas 1')
    await paris.settled()
    expect(audit.writes('admin').map(said)).toEqual([])
    expect(text).toContain('nothing was to be changed')
    expect(code).toBe(0)
  })

  test('with what it may do the relay is refused nothing, and reads one Secret', async () => {
    await paris.settled()
    expect(paris.audit.refusedRequests(relay).map(said)).toEqual([])
    const secrets = paris.audit.secretReads(relay).map(({ verb, objectRef }) => `${verb} ${objectRef?.name}`)
    expect([...new Set(secrets)]).toEqual(['get relay'])
    const written = paris.audit.writes(relay).map(({ objectRef }) => `${objectRef?.resource} ${objectRef?.name}`)
    expect([...new Set(written)].sort()).toEqual(['configmaps istio-ca-root-cert', 'leases relay', 'secrets relay'])
  })

  test('it leaves, and every object is what it was before', async () => {
    const { code, text } = await run(paris, 'cluster leave paris-1 --over 0s --grace 0s')
    expect(text).toContain('paris-1 has left')
    expect(code).toBe(0)
    await eventually(20_000, 'all is as it was', async () => expect(await everything(paris.api)).toEqual(before))
  })
})
