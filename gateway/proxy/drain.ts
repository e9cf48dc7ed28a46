import { type Admin, activeConnections } from '#gateway/proxy/envoy-admin.ts'
import type { Clock } from '#gateway/proxy/keep-certificate.ts'
import type { Log } from '#gateway/proxy/log.ts'

export type DrainTimes = { readonly secondsMin: number; readonly secondsMax: number }

const lookMs = 200

/**
 * The pod is going, its application with it, and Envoy stays to the end. New connections are refused at once, and those that
 * are open are told with the next answer to dial again: an application may take nothing from this moment on, and who is
 * refused goes elsewhere, through a gateway too. What the application itself calls goes on. Throws where Envoy cannot be
 * asked.
 */
export async function beginDrain(admin: Admin): Promise<void> {
  await admin.text('POST', '/healthcheck/fail')
  await admin.text('POST', '/drain_listeners?inboundonly')
}

/**
 * Takes Envoy out of service before it is stopped: readiness fails at once, new requests are still answered (with
 * `connection: close` and GOAWAY) while the rest of the mesh hears that this pod is going. Resolves when `secondsMin` have
 * passed and no connection is open, or after `secondsMax`, or at once when `hurry` is aborted or Envoy is gone.
 */
export async function drainEnvoy(
  admin: Admin,
  times: DrainTimes,
  more: { clock: Clock; log: Log; hurry: AbortSignal },
) {
  const { clock, log, hurry } = more
  const startedMs = clock.now().getTime()
  const passedMs = () => clock.now().getTime() - startedMs
  try {
    await admin.text('POST', '/healthcheck/fail')
    await admin.text('POST', '/drain_listeners?graceful')
    for (let open = -1; !hurry.aborted; ) {
      open = await activeConnections(admin)
      if (open === 0 && passedMs() >= times.secondsMin * 1000) return log.info({ ms: passedMs() }, 'drained')
      if (passedMs() >= times.secondsMax * 1000)
        return log.warn({ open }, 'drain time is over, open connections are cut')
      await clock.wait(lookMs, hurry)
    }
  } catch (err) {
    log.warn({ err }, 'Envoy cannot be drained, it is stopped')
  }
}
