import { parentPort, workerData } from 'node:worker_threads'
import { relayName } from '#gateway/proxy/relay-name.ts'
import { requestCertificate } from '#gateway/proxy/request-certificate.ts'
import { csrOf, keyInHand } from '#tests/support/authorities.ts'

/** Proxies that one thread stands for: one for each token. */
export type Askers = {
  readonly relay: { readonly host: string; readonly port: number }
  readonly relayUri: string
  readonly caFile: string
  readonly cluster: string
  readonly tokenFiles: readonly string[]
}
export type Asked = { readonly refusals: number; readonly failed: number }

// Says when all have a key and a request; once told to go, all ask at once.
const { relay, relayUri, caFile, cluster, tokenFiles } = workerData as Askers
const name = relayName(relayUri, cluster)
const callers = await Promise.all(
  tokenFiles.map(async (tokenFile) => ({
    from: { relay, name, caFile, tokenFile, cluster },
    csr: await csrOf(keyInHand()),
  })),
)
parentPort?.once('message', async () => {
  let refusals = 0
  const ask =
    ({ from, csr }: (typeof callers)[number]) =>
    () =>
      requestCertificate(from, csr)
  const answers = await Promise.allSettled(callers.map((one) => untilAnswered(ask(one), () => refusals++)))
  const failed = answers.filter(({ status }) => status === 'rejected').length
  parentPort?.postMessage({ refusals, failed } satisfies Asked)
})
parentPort?.postMessage('ready')

/** As `isthmus proxy` tries again: after 0.1 to 0.2 s, then twice as late each time. */
async function untilAnswered<T>(ask: () => Promise<T>, refused: () => void): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await ask()
    } catch (fault) {
      refused()
      if (attempt >= 6) throw fault
      await new Promise((resolve) => setTimeout(resolve, 200 * 2 ** attempt * (0.5 + Math.random() / 2)))
    }
  }
}
