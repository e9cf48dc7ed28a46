import { connect } from 'node:net'
import { z } from 'zod'
import { loadContexts, namedContext, type Target } from '#cli/context.ts'
import { placed, refusal } from '#cli/failure.ts'
import type { Environment } from '#cli/io.ts'
import { Problem, type ProblemKind, problemKinds } from '#mesh/model/problem.ts'

/** What the sandbox answers on its socket; the protocol stands in `infra/local/control-door.ts`. */
const answerSchema = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), said: z.string(), calls: z.looseObject({}).optional() }),
  z.object({ ok: z.literal(false), kind: z.string(), said: z.string(), mend: z.string().optional() }),
])
type Answered = Extract<z.infer<typeof answerSchema>, { ok: true }>

/** Longer than a cluster takes to start on a slow machine. */
const answerMs = 180_000
const answerBytesMax = 4 * 1024 * 1024

/** The socket of the sandbox that is spoken to; undefined where the centre is no sandbox's. Throws where there is no such context. */
export function sandboxSocket({ context, url }: Target, env: Environment): string | undefined {
  if (url !== undefined || env['ISTHMUS_URL']) return undefined
  const file = loadContexts(env)
  const name = context ?? file.current
  return name === undefined ? undefined : namedContext(file, name).sandbox
}

/** One question to the running sandbox. Throws what it refuses, and `unavailable` where none runs there. */
export function askSandbox(socket: string | undefined, question: object): Promise<Answered> {
  if (socket === undefined)
    throw refusal({
      kind: 'invalid',
      why: 'the centre that is chosen is not a sandbox’s',
      on: 'the current context',
      mend: 'start the sandbox (npm start), or name its context: isthmus --context sandbox sandbox …',
    })
  return new Promise((resolve, reject) => {
    const away = (cause: unknown) => reject(unreachable(socket, cause))
    const line = connect(socket, () => line.write(`${JSON.stringify(question)}\n`))
    let text = ''
    line.setTimeout(answerMs, () => line.destroy(new Error('it gives no answer')))
    line.setEncoding('utf8').on('data', (part: string) => {
      text += part
      if (text.length > answerBytesMax) line.destroy(new Error('its answer is too large'))
    })
    line.on('error', away)
    line.on('end', () => {
      line.end()
      try {
        const answer = answerSchema.parse(JSON.parse(text))
        if (answer.ok) resolve(answer)
        else
          reject(placed(new Problem(kindOf(answer.kind), answer.said), { on: 'the sandbox', ...mendOf(answer.mend) }))
      } catch (cause) {
        away(cause)
      }
    })
  })
}

const mendOf = (mend: string | undefined) => (mend === undefined ? {} : { mend })

const kindOf = (text: string): ProblemKind =>
  (Object.keys(problemKinds) as ProblemKind[]).find((kind) => kind === text) ?? 'unavailable'

const reasons: Readonly<Record<string, readonly [why: string, mend: string]>> = {
  ENOENT: ['it does not run', 'npm start, and leave it open'],
  ECONNREFUSED: ['it does not run any more', 'npm start, and leave it open'],
  EACCES: ['it is another user’s', 'run this as the user who started it'],
}

function unreachable(socket: string, cause: unknown): Problem {
  const { code = '', message } = cause as NodeJS.ErrnoException
  const cut = cause instanceof SyntaxError || cause instanceof z.ZodError ? 'it ended before it answered' : message
  const [why, mend] = reasons[code] ?? [cut, 'look at the terminal of npm start']
  return refusal({ kind: 'unavailable', why: `the sandbox does not answer: ${why}`, on: socket, mend, cause })
}
