import { spawnSync } from 'node:child_process'
import { type Program, type ProgramSpec, startProgram } from '#infra/local/program.ts'

/** All that this process has started: none outlives it, however it ends. */
const started = new Set<Program>()
process.on('exit', () => {
  for (const program of started) program.signal('SIGKILL')
})

/** The kernel kills the program with us where nothing runs any more that could: the test process was itself killed -9. */
const guard: readonly string[] =
  spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0 ? ['setpriv', '--pdeathsig', 'KILL'] : []

/** A program in a process group of its own, that ends with this process. */
export function startGuarded(spec: ProgramSpec): Program {
  const program = startProgram({ ...spec, command: [...guard, ...spec.command] })
  started.add(program)
  return program
}
