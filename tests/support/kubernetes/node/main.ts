import { readFileSync } from 'node:fs'
import { kubeApi } from '#gateway/kube-api.ts'
import { here } from '#tests/support/kubernetes/network.ts'
import { startClusterDns } from '#tests/support/kubernetes/node/cluster-dns.ts'
import { startKubelet } from '#tests/support/kubernetes/node/kubelet.ts'
import { startLoadBalancer } from '#tests/support/kubernetes/node/load-balancer.ts'
import { serveLogs } from '#tests/support/kubernetes/node/serve-logs.ts'
import { startServiceProxy } from '#tests/support/kubernetes/node/service-proxy.ts'
import { type NodeSettings, readyLine } from '#tests/support/kubernetes/node/settings.ts'

/** Everything that a cluster has beside its control plane: kubelet, Service addresses, load balancers and DNS. */
async function main(path: string): Promise<void> {
  const settings: NodeSettings = JSON.parse(readFileSync(path, 'utf8'))
  const { kubeconfig, serviceCidr, balancerCidr, dns } = settings
  const say = (line: string): void => void process.stdout.write(`${new Date().toISOString()} ${line}\n`)
  const api = kubeApi({ kubeconfig })
  for (const range of [serviceCidr, balancerCidr]) await here('ip', 'route', 'add', 'local', range, 'dev', 'lo')
  startLoadBalancer(api, balancerCidr, say)
  await startServiceProxy(api, say)
  await startClusterDns({
    ...{ api, say },
    address: dns,
    stub: { domain: 'clusterset.local', service: 'isthmus-system/relay' },
  })
  await serveLogs(settings)
  await startKubelet(api, settings, say)
  say(readyLine)
}

await main(process.argv[2] ?? '')
