import { connect, type Socket } from 'node:net'

export type Place = { readonly host: string; readonly port: number }

/** A leader that takes so long to take a connection is not waited for. */
const dialMs = 1000

/**
 * Joins a connection to the same one at the replica that leads, byte for byte: TLS ends there. So one process knows of
 * every proxy of the cluster, and what it reports is of all of them. `serve` takes the connection where the leader does
 * not: nothing of it was read by then.
 */
export function handOn(socket: Socket, to: Place, serve: (socket: Socket) => void): void {
  const there = connect({ host: to.host, port: to.port, noDelay: true })
  const notThere = () => {
    there.destroy()
    if (!socket.destroyed) serve(socket)
  }
  const late = setTimeout(notThere, dialMs)
  there.once('error', notThere)
  socket.once('close', () => there.destroy())
  there.once('connect', () => {
    clearTimeout(late)
    there.off('error', notThere)
    there.on('error', () => socket.destroy())
    there.once('close', () => socket.destroy())
    // Whoever is silent is the leader's to judge.
    socket.setTimeout(0)
    socket.pipe(there)
    there.pipe(socket)
  })
  there.once('close', () => clearTimeout(late))
}

/** Whether somebody takes connections there. */
export const answersAt = (to: Place): Promise<boolean> =>
  new Promise((resolve) => {
    const there = connect(to)
    const done = (answer: boolean) => {
      clearTimeout(late)
      there.destroy()
      resolve(answer)
    }
    const late = setTimeout(() => done(false), dialMs)
    there.once('connect', () => done(true)).once('error', () => done(false))
  })
