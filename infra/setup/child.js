import { spawn } from 'node:child_process'

/**
 * Runs a command to its end and gives back `{ code, signal, stdout, stderr }`; never throws for a bad exit.
 * A command that is not there answers with code 127. `abort` ends it with SIGTERM. Of long output the last 64 KiB is kept.
 */
export function run(command, args, { cwd, env, abort, stdout = 'pipe', stderr = 'pipe' } = {}) {
  return new Promise((resolve) => {
    const seen = { stdout: '', stderr: '' }
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', stdout, stderr] })
    const stop = () => child.kill('SIGTERM')
    abort?.addEventListener('abort', stop)
    for (const name of ['stdout', 'stderr'])
      child[name]?.setEncoding('utf8').on('data', (text) => {
        seen[name] = (seen[name] + text).slice(-65536)
      })
    const end = (code, signal) => {
      abort?.removeEventListener('abort', stop)
      resolve({ code, signal, ...seen })
    }
    child.once('error', (error) => {
      seen.stderr += String(error.message)
      end(127, null)
    })
    child.once('close', end)
    if (abort?.aborted) stop()
  })
}

/** The exit code that stands for a child's end in a shell: its own, or 128 + the number of the signal. */
export function exitCodeOf(code, signal, numbers) {
  return code ?? 128 + (numbers[signal] ?? 1)
}
