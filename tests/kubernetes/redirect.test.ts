import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Program, startProgram, tailOf } from '#tests/support/fleet-program.ts'
import { iptablesRestore } from '#tests/support/kubernetes/iptables.ts'
import { here, type Network, openNetwork } from '#tests/support/kubernetes/network.ts'
import { describeWithClusters } from '#tests/support/kubernetes/suite.ts'
import { root } from '#tests/support/parts.ts'
import { eventually } from '#tests/support/until.ts'

/** Says of each connection at which port it has arrived. Envoy's two, the application's, and ports that are excluded. */
const doors = `
const ports = [15001, 15006, 8080, 22, 15020, 53, 5432]
let open = 0
for (const host of ['0.0.0.0', '::1'])
  for (const port of ports)
    require('node:net').createServer((one) => one.on('error', () => {}).end(String(port)))
      .listen({ host, port, ipv6Only: host === '::1' }, () => ++open === 2 * ports.length && console.log('open'))
`
const call = `
const [host, port, localAddress] = process.argv.slice(1)
require('node:net').connect({ host, port, localAddress, timeout: 2000 })
  .on('data', (text) => { console.log(String(text)); process.exit() })
  .on('error', (error) => { console.log(error.code); process.exit() })
  .on('timeout', () => { console.log('timeout'); process.exit() })
`

// A pod and somebody else, on a cable. The rules are those of `isthmus redirect`; the kernel does them.
describeWithClusters('a pod with redirected connections', () => {
  let dir: string
  let pod: Network
  let other: Network
  let servers: readonly Program[] = []
  const [podIp, otherIp] = ['10.9.0.1', '10.9.0.2']
  const proxy = ['setpriv', '--reuid=1337', '--regid=1337', '--clear-groups']

  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), 'isthmus-redirect-'))
    const restore = await iptablesRestore()
    for (const name of ['iptables-restore', 'ip6tables-restore']) cpSync(restore, join(dir, name))
    pod = await openNetwork('pod', join(dir, 'pod.log'))
    other = await openNetwork('other', join(dir, 'other.log'))
    await here('ip', 'link', 'add', 'isthmus-cable', 'type', 'bridge')
    await here('ip', 'link', 'set', 'isthmus-cable', 'up')
    await Promise.all([pod.plug('isthmus-pod', 'isthmus-cable'), other.plug('isthmus-other', 'isthmus-cable')])
    await pod.run('ip', 'addr', 'add', `${podIp}/24`, 'dev', 'eth0')
    await other.run('ip', 'addr', 'add', `${otherIp}/24`, 'dev', 'eth0')
    const flags = ['--exclude-inbound-ports=22,15020', '--exclude-outbound-ports=5432']
    const redirect = [process.execPath, join(root, 'gateway/redirect/main.ts'), ...flags]
    // Twice: a pod whose init containers run again.
    for (const _ of [1, 2]) await pod.run('env', `PATH=${dir}:${process.env['PATH']}`, ...redirect)
    servers = [pod, other].map(({ enter }, at) =>
      startProgram({
        name: `doors ${at}`,
        command: [...enter, process.execPath, '-e', doors],
        log: join(dir, `${at}.log`),
      }),
    )
    for (const at of [0, 1])
      await eventually(20_000, 'the doors are open', () => /open/.test(tailOf(join(dir, `${at}.log`), 5)))
  })
  afterAll(async () => {
    await Promise.all(servers.map((one) => one.kill()))
    await Promise.all([pod?.close(), other?.close()])
    await here('ip', 'link', 'del', 'isthmus-cable').catch(() => undefined)
    rmSync(dir, { recursive: true, force: true })
  })

  const calling = async (from: Network, as: readonly string[], ...to: readonly string[]): Promise<string> =>
    (await from.run(...as, process.execPath, '-e', call, ...to)).trim()

  test.each([
    ['what comes in goes to Envoy', '8080', '15006'],
    ['SSH does not', '22', '22'],
    ['nor does what is asked of the proxy', '15020', '15020'],
  ])('%s', async (_, port, arrives) => expect(await calling(other, [], podIp, port)).toBe(arrives))

  test.each([
    ['what the application sends goes to Envoy', [], [otherIp, '8080'], '15001'],
    ['DNS over TCP does not', [], [otherIp, '53'], '53'],
    ['nor what is excluded', [], [otherIp, '5432'], '5432'],
    ['nor what Envoy sends', proxy, [otherIp, '8080'], '8080'],
    ['an application speaks to itself at its own address', [], [podIp, '8080'], '8080'],
    ['and on loopback', [], ['127.0.0.1', '8080'], '8080'],
    ['Envoy, where it is sent to its own pod, comes back to itself', proxy, [podIp, '8080'], '15006'],
    ['from its own address Envoy reaches the application', proxy, [podIp, '8080', '127.0.0.6'], '8080'],
    ['on loopback it does so too', proxy, ['127.0.0.1', '8080'], '8080'],
    ['IPv6 has its loopback', [], ['::1', '8080'], '8080'],
  ])('%s', async (_, as, to, arrives) => expect(await calling(pod, as, ...to)).toBe(arrives))
})
