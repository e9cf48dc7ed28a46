import { chmodSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { z } from 'zod'
import { Problem, type ProblemKind } from '#mesh/model/problem.ts'
import { type Calls, callSchema, makeCalls } from './call-as-pod.ts'
import { type Deeds, verbs } from './deeds.ts'
import { faultOf } from './fault.ts'
import type { SandboxPlan } from './plan.ts'
import type { Sandbox } from './sandbox.ts'

/**
 * How a command reaches the running sandbox: a Unix socket (0600, in a directory of 0700, so that nobody but this user and
 * root can open it). One question a connection, one line of JSON each way:
 *
 *   { "do": "kill" | "pause" | "restore" | "partition", "what": "<cluster>[/relay|/gateway]" | "centre" }
 *   { "do": "add", "cluster": "<name>", "token": "isthmus_join_…", "region": "<region>"? }
 *   { "do": "call", "from": "<cluster>/<namespace>/<service account>", "to": "<host>:<port>", "times": 1-1000, "path": "/…"? }
 *
 * Answer: { "ok": true, "said": "<lines for a person>", "calls"?: … }, or
 * { "ok": false, "kind": "<a Problem's>", "said": "<why>", "mend"?: "<the command or deed that mends it>" }.
 */
export const controlSocket = (plan: SandboxPlan): string => join(plan.runDir, 'control.sock')

const questionSchema = z.union([
  z.strictObject({ do: z.enum(verbs), what: z.string().max(200) }),
  z.strictObject({
    do: z.literal('add'),
    cluster: z.string().max(200),
    token: z.string().max(4096),
    region: z.string().min(1).max(63).optional(),
  }),
  callSchema,
])

export type Answer =
  | { readonly ok: true; readonly said: string; readonly calls?: Calls }
  | { readonly ok: false; readonly kind: ProblemKind; readonly said: string; readonly mend?: string }

const questionBytesMax = 16 * 1024
const questionMs = 5000
const connectionsMax = 16

export type ControlDoor = { close(): void }

export type ControlParts = {
  readonly path: string
  readonly sandbox: Sandbox
  readonly deeds: Deeds
  readonly say: (line: string) => void
}

export function serveControl({ path, sandbox, deeds, say }: ControlParts): Promise<ControlDoor> {
  const open = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket)
    socket.on('close', () => open.delete(socket))
    socket.on('error', () => socket.destroy())
    void readLine(socket)
      .then(answer)
      .catch(refusal)
      .then((said) => socket.end(`${JSON.stringify(said)}\n`))
  })
  server.maxConnections = connectionsMax
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      chmodSync(path, 0o600)
      resolve({
        close: () => {
          server.close()
          for (const one of open) one.destroy()
        },
      })
    })
  })

  async function answer(line: string): Promise<Answer> {
    const question = parseQuestion(line)
    if (question.do === 'call') return { ok: true, ...(await makeCalls(sandbox.members, question)) }
    const said =
      question.do === 'add'
        ? await deeds.add(question.cluster, question.token, question.region)
        : await deeds.act(question.do, question.what)
    say(said)
    return { ok: true, said }
  }
}

/** What the file system refuses says what mends it in its own sentence; so does a start that failed, with the end of its log. */
function refusal(error: unknown): Answer {
  if (!(error instanceof Problem))
    return { ok: false, kind: 'unavailable', said: faultOf(error), mend: 'as it says; then repeat the command' }
  const { kind, message, extra } = error
  return { ok: false, kind, said: message, ...(typeof extra['mend'] === 'string' ? { mend: extra['mend'] } : {}) }
}

function parseQuestion(line: string): z.infer<typeof questionSchema> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new Problem('invalid', 'the question to the sandbox is not one line of JSON', { cause })
  }
  const parsed = questionSchema.safeParse(value)
  if (parsed.success) return parsed.data
  throw new Problem('invalid', `the question to the sandbox is not understood: ${z.prettifyError(parsed.error)}`)
}

function readLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const late = setTimeout(() => reject(new Problem('invalid', 'no question came in 5 s')), questionMs)
    const done = () => {
      clearTimeout(late)
      resolve(text)
    }
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part
      if (text.length > questionBytesMax) socket.destroy()
      else if (text.includes('\n')) done()
    })
    socket.on('end', done)
  })
}
