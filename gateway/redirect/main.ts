import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { capturedFrom, flagRows } from '#gateway/redirect/flags.ts'
import { rulesFor } from '#gateway/redirect/rules.ts'
import { failureText } from '#mesh/model/failure-text.ts'
import { Problem } from '#mesh/model/problem.ts'

/** The program that sends a pod's TCP connections through the Envoy beside it, and ends: `isthmus redirect [--<flag>=…]…` */
const help = [
  'isthmus redirect [--<flag>=<value>,<value>…]…',
  '  Redirects the TCP connections of this network namespace to Envoy: incoming ones to port 15006, outgoing ones to 15001,',
  '  but for those of user 1337 and those to port 53. Needs NET_ADMIN and iptables.',
  ...Object.entries(flagRows).map(([flag, row]) => `  ${flag.padEnd(26)} ${row.help}`),
].join('\n')

/** Of this file system there may be nothing but shared memory to write to. */
const env = { ...process.env, XTABLES_LOCKFILE: '/dev/shm/isthmus-xtables.lock' }

/** The one of the machine's choice, then the older one: nodes have either in their kernel. */
const programs = {
  4: ['iptables-restore', 'iptables-legacy-restore'],
  6: ['ip6tables-restore', 'ip6tables-legacy-restore'],
} as const

function install(family: 4 | 6, rules: string): void {
  const said: string[] = []
  for (const program of programs[family]) {
    const { status, error, stderr } = spawnSync(program, ['--noflush'], { input: rules, env, timeout: 30_000 })
    if (status === 0) return
    said.push(`${program}: ${error?.message ?? stderr.toString('utf8').trim().slice(0, 500)}`)
  }
  throw new Problem('unavailable', `the rules cannot be installed: ${said.join('; ')}`, {
    extra: {
      on: `the ${family === 4 ? 'IPv4' : 'IPv6'} connections of this pod`,
      mend: 'let this container have NET_ADMIN and NET_RAW, or redirect by Istio’s CNI plugin: isthmus inject --cni',
    },
  })
}

/** Whether there is an IPv6 that could lead past Envoy. */
function hasIpv6(): boolean {
  try {
    return readFileSync('/proc/net/if_inet6', 'utf8').trim() !== ''
  } catch {
    return false
  }
}

const argv = process.argv.slice(2)
if (argv.some((one) => one === '--help' || one === '-h')) console.log(help)
else
  try {
    const captured = capturedFrom(argv)
    install(4, rulesFor(4, captured))
    if (hasIpv6()) install(6, rulesFor(6, captured))
    console.log('connections of this pod go through Envoy')
  } catch (error) {
    if (!(error instanceof Problem)) throw error
    process.stderr.write(failureText('redirect', error, 'isthmus redirect --help'))
    process.exitCode = 1
  }
