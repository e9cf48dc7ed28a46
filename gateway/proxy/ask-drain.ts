import { request } from 'node:http'
import type { HostPort } from '#gateway/proxy/setting-reader.ts'
import { Problem } from '#mesh/model/problem.ts'

const answerMs = 5000

/** Asks the proxy of this pod, at the port of its status server, to send callers elsewhere. Throws `unavailable`. */
export function askToDrain({ port }: HostPort): Promise<void> {
  return new Promise((resolve, reject) => {
    const refused = (cause: unknown, why: string) =>
      reject(new Problem('unavailable', `the proxy of this pod was not told that the pod is going: ${why}`, { cause }))
    const asked = request(
      { host: '127.0.0.1', port, method: 'POST', path: '/drain', agent: false, timeout: answerMs },
      (answer) => {
        answer.resume()
        if (answer.statusCode === 200) resolve()
        else refused(undefined, `it answered ${answer.statusCode}`)
      },
    )
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', (cause) => refused(cause, cause.message))
    asked.end()
  })
}
