import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import type { Answers, Orders } from '#tests/bench/load/generator.ts'

export type Generator = {
  readonly order: <K extends keyof Orders>(order: K, given: Orders[K]) => Promise<Answers[K]>
  /** Arms the group and gives the answer that is to come, once the group listens. */
  readonly expect: (given: Orders['expect']) => Promise<{ readonly seen: Promise<Answers['expect']> }>
  readonly stop: () => void
}

const here = (file: string) => join(import.meta.dirname, file)

/** A proxy answers between 0 and `ackMs` after it read a message, evenly, drawn from `seed`. */
export type Answering = { readonly ackMs: number; readonly seed: number }

/** Starts the load generator. It ends with this process. */
export function startGenerator({ ackMs, seed }: Answering): Generator {
  const child = fork(here('generator.ts'), [String(ackMs), String(seed)], {
    ...{ serialization: 'advanced', execArgv: ['--max-old-space-size=8192'] },
  })
  const open = new Map<number, { resolve: (answer: never) => void; reject: (error: Error) => void }>()
  const armed: (() => void)[] = []
  let next = 0
  child.on('message', (message: { id: number; answer?: never; error?: string; armed?: true }) => {
    if (message.armed) return armed.shift()?.()
    const waiting = open.get(message.id)
    open.delete(message.id)
    if (message.error !== undefined) waiting?.reject(new Error(message.error))
    else waiting?.resolve(message.answer as never)
  })
  child.once('exit', (code) => {
    for (const { reject } of open.values()) reject(new Error(`the load generator ended with ${code}`))
  })
  const order: Generator['order'] = (name, given) =>
    new Promise((resolve, reject) => {
      next += 1
      open.set(next, { resolve, reject })
      child.send({ id: next, order: name, given })
    })
  return {
    order,
    expect: async (given) => {
      const listening = new Promise<void>((resolve) => armed.push(resolve))
      const seen = order('expect', given)
      seen.catch(() => undefined)
      await listening
      return { seen }
    },
    stop: () => child.kill('SIGKILL'),
  }
}

export type Floor = {
  readonly port: number
  /** Writes so many bytes to every stream; gives when it began. */
  readonly push: (bytes: number) => Promise<bigint>
  readonly memory: () => Promise<{ readonly rss: number; readonly streams: number }>
  readonly stop: () => void
}

/** Starts the floor program. It ends with this process. */
export async function startFloor(tls: { key: string; cert: string; clientCas: string }): Promise<Floor> {
  const child: ChildProcess = fork(here('floor-server.ts'), { serialization: 'advanced', execArgv: ['--expose-gc'] })
  const ask = <T>(order: object): Promise<T> =>
    new Promise((resolve, reject) => {
      child.once('message', (answer) => resolve(answer as T))
      child.once('exit', (code) => reject(new Error(`the floor program ended with ${code}`)))
      child.send(order)
    })
  child.setMaxListeners(0)
  const { port } = await ask<{ port: number }>({ do: 'open', ...tls })
  return {
    port,
    push: async (bytes) => (await ask<{ at: bigint }>({ do: 'push', bytes })).at,
    memory: () => ask({ do: 'memory' }),
    stop: () => child.kill('SIGKILL'),
  }
}
