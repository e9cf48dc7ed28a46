import { readFileSync } from 'node:fs'
import { CoreV1Api } from '@kubernetes/client-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeEks } from '#cli/onboard/eks/eks-cluster.ts'
import { openAws } from '#cli/onboard/eks/open-aws.ts'
import { eksKubeConfig, openEks } from '#cli/onboard/eks/open-eks.ts'
import { runCli } from '#cli/run.ts'
import type { Send } from '#cli/send.ts'
import { openTestCentre } from '#tests/support/centre.ts'
import { type EksRig, openEksRig } from '#tests/support/eks.ts'
import { startTokenWebhook, type TokenWebhook } from '#tests/support/eks-token-webhook.ts'
import { type KubeCluster, startKubeCluster } from '#tests/support/kubernetes/cluster.ts'
import { lan } from '#tests/support/kubernetes/lan.ts'
import { openSwitch } from '#tests/support/kubernetes/network.ts'
import { playedGateway, playMember } from '#tests/support/kubernetes/played-member.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'

/** What EKS is made of: an API server that asks a webhook beside it, which asks STS who sent the token. */
describeWithClusters('an EKS cluster', () => {
  let rig: EksRig
  let webhook: TokenWebhook
  let cluster: KubeCluster
  const before = { ...process.env }
  const region = 'eu-west-1'
  beforeAll(async () => {
    rig = await openEksRig()
    await rig.cluster('prod', { cidr: '10.11.0.0/16' })
    await rig.user('joiner', ['eks:*', 'ec2:DescribeVpcs'])
    await rig.user('reader', ['eks:DescribeCluster', 'eks:ListClusters'])
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
    Object.assign(process.env, rig.env)
    // It listens where the cluster will be: there is no cluster yet.
    await openSwitch(lan.device, `${lan.test}/${lan.bits}`)
    webhook = await startTokenWebhook({ address: lan.test, emulator: rig.emulator, region, cluster: 'prod' })
    cluster = await startKubeCluster({ name: 'prod', tokenWebhook: webhook.kubeconfig })
    rig.serve('prod', { endpoint: cluster.server, ca: readFileSync(cluster.caFile, 'utf8') })
  }, 300_000)
  afterAll(async () => {
    for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
    Object.assign(process.env, before)
    await cluster?.stop()
    await webhook?.stop()
    await rig?.stop()
  })

  const said: string[] = []
  const opened = (profile: string, createAccessEntry = false) =>
    openEks({
      ...{ name: 'prod', region, profile, env: rig.env, createAccessEntry, now: Date.now },
      ...{ say: (text: string) => void said.push(text), answerMs: 60_000 },
    })

  test('does not know who has no access entry: the entry is named', async () => {
    await expect(opened('reader')).rejects.toMatchObject({
      kind: 'forbidden',
      message: expect.stringContaining('does not know arn:aws:iam::000000000000:user/reader'),
      extra: { mend: expect.stringContaining('aws eks create-access-entry --region eu-west-1 --profile reader') },
    })
    expect(webhook.refused.at(-1)).toMatch(/No access entry/)
  })

  test('takes the presigned token once the entry is made', async () => {
    const { config, cidrs, cluster: eks } = await opened('joiner', true)
    expect(said).toEqual([expect.stringContaining('access entry of arn:aws:iam::000000000000:user/joiner made')])
    expect([eks.endpoint, cidrs]).toEqual([cluster.server, ['10.11.0.0/16']])
    const { items } = await config.makeApiClient(CoreV1Api).listNamespace()
    expect(items.map(({ metadata }) => metadata?.name)).toContain('kube-system')
    const who = 'arn:aws:iam::000000000000:user/joiner'
    await cluster.settled()
    expect(cluster.audit.entries(who).map(({ objectRef }) => objectRef?.resource)).toContain('namespaces')
    // Nothing is made again.
    await opened('joiner', true)
    expect(said).toHaveLength(1)
  })

  test('joins by its name in EKS, from discovery to ready: its network is its VPC, its load balancer one of AWS', async () => {
    const centre = await openTestCentre()
    centre.clock.now = Date.now()
    const send: Send = async (url, { method = 'GET', headers = {}, body }) => {
      const asked = { method, headers: new Headers(headers), ...(body === undefined ? {} : { body }) }
      const response = await centre.api.request(url.href, asked)
      return { status: response.status, text: await response.text() }
    }
    const run = async (line: string) => {
      let [out, err] = ['', '']
      const code = await runCli(line.split(' '), {
        env: { ...rig.env, ISTHMUS_URL: 'https://centre.test:7400', ISTHMUS_API_KEY: centre.adminKey },
        out: (text) => {
          out += text
        },
        err: (text) => {
          err += text
        },
        ...{ now: Date.now, colour: false, send },
      })
      return { code, out: rig.steady(out), err: rig.steady(err) }
    }
    const network = 'vpc-00000000000000001'
    const found = JSON.parse((await run('discover eks --region eu-west-1 --profile joiner -o json')).out)
    const [seen] = found.clusters as { readonly join: string; readonly member: string }[]
    const { join = '', member } = seen ?? {}
    expect([member, join]).toEqual(['no', 'isthmus cluster join prod --eks prod --region eu-west-1 --profile joiner'])
    const line = `${join.replace('isthmus ', '')} --registry registry.test`
    const rehearsed = await run(`${line} --dry-run`)
    expect([rehearsed.code, rehearsed.err]).toEqual([0, expect.stringContaining(`network ${network} is its VPC`)])
    expect(rehearsed.out).toContain(`topology.istio.io/network: ${network}`)
    expect(rehearsed.out).toContain('service.beta.kubernetes.io/aws-load-balancer-')

    const place = { network: rig.vpcOf('prod'), region }
    const stop = playMember({ cluster, centre, name: 'prod', place, lookMs: () => 100 })
    const joined = await run(line)
    await stop()
    expect([joined.code, joined.err]).toEqual([0, ''])
    expect(joined.out).toContain(`${playedGateway.address}:${playedGateway.port} ready`)
    const again = JSON.parse((await run('discover eks --region eu-west-1 --profile joiner -o json')).out)
    expect(again.clusters).toMatchObject([{ name: 'prod', cluster: 'prod', member: 'joined', network }])
    expect(again.clusters[0]).not.toHaveProperty('join')
    await centre.close()
  })

  test('that is being created has no API server yet', async () => {
    const aws = await openAws({ region, profile: 'joiner', env: rig.env })
    const { endpoint: _, ...young } = await describeEks(aws, 'prod')
    expect(() => eksKubeConfig(aws, { ...young, status: 'CREATING' }, Date.now)).toThrow(
      /it is CREATING and has no API/,
    )
  })

  test('that does not answer is told with the way to look for it', async () => {
    rig.serve('prod', { endpoint: `https://${lan.test}:1`, ca: readFileSync(cluster.caFile, 'utf8') })
    await expect(opened('joiner')).rejects.toMatchObject({
      kind: 'unavailable',
      extra: { mend: expect.stringContaining('publicAccessCidrs') },
    })
  })
})
