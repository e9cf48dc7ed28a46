import { failureText, refusal } from '#cli/failure.ts'
import { wantsColour } from '#cli/io.ts'
import { runCli } from '#cli/run.ts'
import { send } from '#cli/send.ts'
import { fileFault } from '#mesh/model/file-fault.ts'

// The command `isthmus`. The environment and the standard streams are taken here and nowhere else.
const { stdout, stderr, env } = process
// `isthmus get … | head`: nobody reads any more, and that is no error. A full disk is one: what was asked for is not there.
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0)
  const why = `the output cannot be written: ${fileFault(error)}`
  stderr.write(failureText('', refusal({ kind: 'unavailable', why, ...lost })))
  process.exit(1)
})
const lost = { on: 'standard output', mend: 'make room, or send it elsewhere' }
stderr.on('error', () => undefined)

process.exitCode = await runCli(process.argv.slice(2), {
  ...{ env, send, now: Date.now },
  out: (text) => void stdout.write(text),
  err: (text) => void stderr.write(text),
  colour: wantsColour(env, stdout.isTTY),
  ...(stdout.isTTY ? { columns: stdout.columns } : {}),
})
