import { sha256Hex } from '#mesh/model/canonical.ts'

/** Which statements the engine is to remember, so that it reads them once: those that come again and again. */
export type StatementNames = {
  /** The name of a statement; undefined where it is to be run without. Equal texts have equal names, in every process. */
  of(text: string): string | undefined
  /** From now on none has a name. */
  stop(): void
}

const timesToName = 3
/** Each costs a connection some ten kilobytes of the server's memory, for as long as it lives. */
const namesMax = 200
/** Longer ones are of many rows: reading them is a small part of their work, and remembering them would cost megabytes. */
const textMax = 8000
/** Texts of which it is remembered that they came; the count begins anew past it. */
const seenMax = 2000

export function statementNames(): StatementNames {
  const names = new Map<string, string>()
  let seen = new Map<string, number>()
  let stopped = false
  return {
    of: (text) => {
      if (stopped || text.length > textMax) return undefined
      const known = names.get(text)
      if (known !== undefined || names.size >= namesMax) return known
      const times = (seen.get(text) ?? 0) + 1
      if (seen.size >= seenMax) seen = new Map()
      seen.set(text, times)
      if (times < timesToName) return undefined
      seen.delete(text)
      // By its content: behind a pooler a connection may have been another process's, with names of its own.
      const name = `isthmus_${sha256Hex(text).slice(0, 24)}`
      names.set(text, name)
      return name
    },
    stop: () => {
      stopped = true
      names.clear()
      seen.clear()
    },
  }
}
