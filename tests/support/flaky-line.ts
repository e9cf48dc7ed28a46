import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** What goes wrong on a line. Bytes count from the start of a connection, in one direction. */
export type LineFault = {
  /** Connections are reset as soon as they are made. */
  readonly refuse?: boolean
  /** A connection is reset when this many bytes went up (to the server), or down. */
  readonly cutUpAt?: number
  readonly cutDownAt?: number
  readonly delayMs?: number
  /** Bytes of that direction wait until the line is healed. */
  readonly stall?: 'up' | 'down' | 'both'
}

/** A TCP line to one server, that fails as it is told. What it does is the same for every connection. */
export type FlakyLine = {
  readonly port: number
  /** Replaces the fault; `{}` heals. Cuts count for connections made from now on, the rest for all. */
  fault(fault: LineFault): void
  /** Resets every connection there is. */
  cut(): void
  /** Every connection there is goes dead for ever: nothing passes, and nobody is told. Later ones are good. */
  mute(): void
  /** Connections made and bytes passed up and down since the start. */
  counts(): { readonly connections: number; readonly up: number; readonly down: number }
  close(): Promise<void>
}

type Pair = { readonly client: Socket; readonly server: Socket; muted: boolean }

export async function openFlakyLine(target: number, listen = 0): Promise<FlakyLine> {
  let fault: LineFault = {}
  const pairs = new Set<Pair>()
  const held = new Set<() => void>()
  const count = { connections: 0, up: 0, down: 0 }

  const server = createServer((client) => {
    count.connections++
    if (fault.refuse) {
      client.on('error', () => undefined)
      client.resetAndDestroy()
      return
    }
    const pair: Pair = { client, server: connect({ port: target, host: '127.0.0.1' }), muted: false }
    pairs.add(pair)
    pass(pair, 'up', fault.cutUpAt)
    pass(pair, 'down', fault.cutDownAt)
  })

  function pass(pair: Pair, way: 'up' | 'down', cutAt: number | undefined): void {
    const [from, to] = way === 'up' ? [pair.client, pair.server] : [pair.server, pair.client]
    let passed = 0
    from.on('data', (bytes) => {
      if (pair.muted) return
      const left = cutAt === undefined ? bytes.length : cutAt - passed
      const part = bytes.subarray(0, Math.max(0, left))
      passed += part.length
      count[way] += part.length
      const go = () => {
        if (!pair.muted) to.write(part)
        if (part.length < bytes.length) reset(pair)
      }
      if (fault.stall === way || fault.stall === 'both') {
        from.pause()
        held.add(() => {
          go()
          from.resume()
        })
      } else if (fault.delayMs) setTimeout(go, fault.delayMs)
      else go()
    })
    from.on('error', () => reset(pair))
    from.on('close', () => {
      pairs.delete(pair)
      if (!pair.muted) setTimeout(() => to.destroySoon(), fault.delayMs ?? 0)
      else if (way === 'up') to.destroy()
    })
  }

  function reset(pair: Pair): void {
    pairs.delete(pair)
    if (!pair.client.destroyed) pair.client.resetAndDestroy()
    if (!pair.server.destroyed) pair.server.resetAndDestroy()
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(listen, '127.0.0.1', resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    fault: (next) => {
      fault = next
      if (next.stall) return
      for (const go of held) go()
      held.clear()
    },
    cut: () => {
      for (const pair of [...pairs]) reset(pair)
    },
    mute: () => {
      for (const pair of pairs) pair.muted = true
    },
    counts: () => ({ ...count }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const pair of [...pairs]) reset(pair)
      }),
  }
}

/** A port of the loopback that nobody listens on, below those that the kernel hands out: still free after a restart. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000)
    const free = await new Promise<boolean>((resolve) => {
      const probe = createServer()
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)))
    })
    if (free) return port
  }
}
