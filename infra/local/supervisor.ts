import { parentOf, startOf, wordsOf } from './process-facts.ts'

/** A living process that runs a sandbox. */
export type Supervisor = { readonly pid: number; readonly started: string }

const variable = 'ISTHMUS_SANDBOX_BY'

/** What every program of ours carries in its environment: whose it is. A file that says so can be deleted, this cannot. */
export const supervisorMark = (): Readonly<Record<string, string>> => ({
  [variable]: `${process.pid} ${startOf(process.pid) ?? ''}`,
})

/**
 * The living sandbox, other than this process, that a program belongs to: by its own mark, or by its parent's where it was
 * started without an environment, as Envoy is.
 */
export function supervisorOf(program: number): Supervisor | undefined {
  const mark = [program, parentOf(program)].map(markOf).find((one) => one !== undefined)
  const [pid, started = ''] = mark?.split(' ') ?? []
  const one = { pid: Number(pid), started }
  return mark !== undefined && one.pid !== process.pid && isAlive(one) ? one : undefined
}

export const isAlive = ({ pid, started }: Supervisor): boolean => started !== '' && startOf(pid) === started

const markOf = (pid: number): string | undefined =>
  wordsOf(`/proc/${pid}/environ`)
    .find((one) => one.startsWith(`${variable}=`))
    ?.slice(variable.length + 1)
