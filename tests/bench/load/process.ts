import { readFileSync } from 'node:fs'
import { get } from 'node:http'
import { WebSocket } from 'ws'

export type Memory = {
  readonly rss: number
  readonly heapUsed: number
  readonly external: number
  readonly arrayBuffers: number
}

/** Heap and buffers. */
export const heldBy = (memory: Memory): number => memory.heapUsed + memory.arrayBuffers

const settledBytes = 100_000
const roundsMax = 12

/** User and system seconds that a process has used. Source: proc(5), fields 14 and 15, at 100 ticks a second. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

export const rssOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

/**
 * The memory of a running Node process after forced collections, as many as it takes until they find nothing more, asked over its inspector, which it opens on SIGUSR1:
 * the program under test has nothing of the bench in it.
 */
export async function memoryOf(pid: number): Promise<Memory> {
  const port = 9229
  process.kill(pid, 'SIGUSR1')
  const socket = new WebSocket(await inspectorUrl(port), { perMessageDeflate: false })
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  let next = 0
  const ask = (method: string, params: object = {}): Promise<Record<string, unknown>> =>
    new Promise((resolve) => {
      const id = ++next
      const listen = (text: Buffer) => {
        const message = JSON.parse(text.toString()) as { id?: number; result: Record<string, unknown> }
        if (message.id !== id) return
        socket.off('message', listen)
        resolve(message.result)
      }
      socket.on('message', listen)
      socket.send(JSON.stringify({ id, method, params }))
    })
  try {
    const owner = await evaluated(ask, 'process.pid')
    if (owner !== pid) throw new Error(`the inspector on port ${port} is that of process ${owner}, not ${pid}`)
    for (let before = Number.POSITIVE_INFINITY, round = 0; ; round++) {
      await ask('HeapProfiler.collectGarbage')
      await new Promise((resolve) => setTimeout(resolve, 250))
      const memory = (await evaluated(ask, 'process.memoryUsage()')) as Memory
      const held = heldBy(memory)
      // What finalizers let go is collected in the next round only.
      if ((round >= 2 && Math.abs(before - held) < settledBytes) || round === roundsMax)
        return { ...memory, rss: rssOf(pid) }
      before = held
    }
  } finally {
    socket.terminate()
  }
}

async function evaluated(
  ask: (method: string, params: object) => Promise<Record<string, unknown>>,
  expression: string,
) {
  const { result } = await ask('Runtime.evaluate', { expression, returnByValue: true })
  return (result as { value?: unknown }).value
}

async function inspectorUrl(port: number): Promise<string> {
  for (let tries = 0; ; tries++) {
    try {
      const [target] = JSON.parse(await textOf(port)) as { webSocketDebuggerUrl: string }[]
      if (target) return target.webSocketDebuggerUrl
    } catch (error) {
      if (tries > 50) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

const textOf = (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/json/list' }, (answer) => {
      let text = ''
      answer.on('data', (part) => {
        text += part
      })
      answer.on('end', () => resolve(text))
    }).on('error', reject)
  })
