import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { basename, join } from 'node:path'
import { kubeletPort, type NodeSettings } from '#tests/support/kubernetes/node/settings.ts'

/**
 * What the API server asks a kubelet for when somebody reads a log: `/containerLogs/<namespace>/<pod>/<container>`, with
 * `tailLines`. All runs of a container are one log here.
 */
export async function serveLogs({ dir, tls, address }: NodeSettings): Promise<void> {
  const server = createServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) }, ({ url = '/' }, answer) => {
    const { pathname, searchParams } = new URL(url, 'https://kubelet')
    const [, kind, namespace, pod, container] = pathname.split('/')
    const path = join(dir, 'logs', basename(`${namespace}.${pod}.${container}.log`))
    if (kind !== 'containerLogs' || !existsSync(path)) {
      answer.statusCode = 404
      answer.end('there is no such log')
      return
    }
    const lines = readFileSync(path, 'utf8').split(/(?<=\n)/)
    const many = searchParams.get('tailLines')
    answer.setHeader('content-type', 'text/plain')
    answer.end(lines.slice(many === null ? 0 : -Number(many)).join(''))
  })
  await new Promise<void>((resolve) => server.listen(kubeletPort, address, resolve))
}
