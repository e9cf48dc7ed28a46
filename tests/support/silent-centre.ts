import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'

/** Stands where the centre was: takes every connection, says nothing, and notes what is open when a call comes. */
export type SilentCentre = {
  /** For each call so far: whether the watched address was listening at that moment. */
  readonly calls: readonly { readonly wasOpen: boolean }[]
  stop(): Promise<void>
}

/** Throws where the centre still has its port. */
export async function startSilentCentre(
  at: { readonly host: string; readonly port: number },
  watched: { readonly host: string; readonly port: number },
): Promise<SilentCentre> {
  const calls: { wasOpen: boolean }[] = []
  const open = new Set<Socket>()
  const server = createServer((socket) => {
    calls.push({ wasOpen: isListening(watched) })
    open.add(socket)
    socket.on('error', () => undefined).on('close', () => open.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(at, resolve)
  })
  return {
    calls,
    stop: () =>
      new Promise((resolve) => {
        for (const socket of open) socket.destroy()
        server.close(() => resolve())
      }),
  }
}

/** From the kernel's own list: asking by a connection would come too late to tell the order. */
function isListening({ host, port }: { readonly host: string; readonly port: number }): boolean {
  const hex = (value: number, digits: number) => value.toString(16).toUpperCase().padStart(digits, '0')
  const address = host
    .split('.')
    .map(Number)
    .toReversed()
    .map((part) => hex(part, 2))
    .join('')
  const local = `${address}:${hex(port, 4)}`
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .some((line) => {
      const [, at, , state] = line.trim().split(/\s+/)
      return at === local && state === '0A'
    })
}
