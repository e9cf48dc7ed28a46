import { connect } from 'node:net'
import type { Probed } from '#gateway/health/ask-over-tls.ts'

/** An address outside of the mesh that takes connections while this cluster has a network: host and port. */
export type Beacon = { readonly host: string; readonly port: number }

/** Whether somebody takes a connection there within `timeoutMs`. Never throws. */
export function askBeacon({ host, port }: Beacon, timeoutMs: number): Promise<Probed> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: timeoutMs })
    const end = (probed: Probed) => {
      socket.removeAllListeners().on('error', () => undefined)
      socket.destroy()
      resolve(probed)
    }
    socket.once('connect', () => end({ result: 'ok' }))
    socket.once('timeout', () => end({ result: 'timeout' }))
    socket.once('error', ({ message }) => end({ result: 'refused', detail: message.slice(0, 200) }))
  })
}
