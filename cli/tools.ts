import { resolve } from 'node:path'
import { Option } from 'commander'
import type { Centre, Target } from '#cli/context.ts'
import type { Io } from '#cli/io.ts'
import type { Format } from '#cli/output.ts'
import type { Paint } from '#cli/paint.ts'
import type { Problem } from '#mesh/model/problem.ts'

/** What every command works with. */
export type Tools = {
  readonly io: Io
  readonly paint: Paint
  readonly print: (text: string) => void
  /** The flags that say which centre, as given. */
  readonly target: () => Target
  /** The centre to speak to. Throws what is missing. */
  readonly centre: () => Centre
  /** Tells of a problem and goes on; the exit code will say so. */
  readonly complain: (problem: Problem) => void
  /** The exit code where nothing throws. */
  readonly exitWith: (code: number) => void
}

export type Shape = { readonly output: Format; readonly watch?: boolean }

export const outputOption = (): Option =>
  new Option('-o, --output <format>', 'table, json or yaml').choices(['table', 'json', 'yaml']).default('table')
export const fileOption = (): Option =>
  new Option('-f, --file <file>', 'YAML or JSON, any number of objects; - reads standard input; may be said again')
    .argParser((file: string, before: readonly string[] = []) => [...before, file])
    .makeOptionMandatory()
export const watchOption = (): Option => new Option('-w, --watch', 'goes on, and prints what changes')

/** As a file keeps it: good from wherever it is read. */
export const absolute = (path: string): string => resolve(path)
