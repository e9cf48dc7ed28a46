import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { parse, stringify } from 'yaml'
import { makeDirectory } from '#cli/make-directory.ts'
import { self } from '#mesh/model/failure-text.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { shellWord } from '#mesh/model/shell-word.ts'
import { caFileOf, centreUrl, keyFileOf } from './centre.ts'
import { controlSocket } from './control-door.ts'
import { relayAddress, type SandboxPlan, statusPort } from './plan.ts'
import { replaceFile } from './replace-file.ts'

/** How the CLI finds the sandbox: the words for its command line (none where the sandbox is current), its name where it was written, and what to tell the user. */
export type CliContext = { readonly words: string; readonly name?: string; readonly told?: string }

/** What a second terminal types, as it stands, to see the sandbox's status. */
export const statusCommand = ({ words }: Pick<CliContext, 'words'>): string => `${self} ${words}status`

type Known = { readonly caFile?: unknown }

/**
 * Writes the CLI's context of this sandbox; the file holds the path of the key, never the key. It is named `sandbox`, and
 * `sandbox-2` and so on beside one of another directory. Other contexts stay, and so does the one that is current. A file
 * that is not understood, or cannot be written, is the user's to mend: it stays as it is.
 */
export function writeCliContext(plan: SandboxPlan, env: Readonly<Record<string, string | undefined>>): CliContext {
  const path = pathIn(env)
  const context = {
    url: centreUrl(plan),
    caFile: caFileOf(plan),
    keyFile: keyFileOf(plan),
    sandbox: controlSocket(plan),
    relays: Object.fromEntries(plan.clusters.map((c) => [c.name, `http://${relayAddress(c)}:${statusPort}`])),
  }
  try {
    const before = existsSync(path) ? (parse(readFileSync(path, 'utf8')) as Record<string, unknown> | null) : null
    const known = (before?.['contexts'] ?? {}) as Readonly<Record<string, Known>>
    const name = nameFor(context.caFile, known)
    const current = before?.['current'] ?? name
    makeDirectory(dirname(path))
    // Nobody else's relays are forgotten: the user may have joined clusters of their own.
    const relays = { ...(known[name] as { relays?: object } | undefined)?.relays, ...context.relays }
    replaceFile(path, stringify({ ...before, current, contexts: { ...known, [name]: { ...context, relays } } }), 0o600)
    const words = current === name ? '' : `--context ${name} `
    if (name === 'sandbox') return { words, name }
    return {
      words,
      name,
      told: `the command line knows this fleet as context ${name}; sandbox is one of another directory`,
    }
  } catch (error) {
    const words = `--url ${centreUrl(plan)} --ca-file ${shellWord(context.caFile)} --key-file ${shellWord(context.keyFile)} `
    return {
      words,
      told:
        `no context for the command line is written: ${reasonOf(error, path)}; set XDG_CONFIG_HOME (and npm_config_cache, ` +
        `for npx) to a directory that can be written, or say all as below, and isthmus sandbox --socket ${shellWord(context.sandbox)} …`,
    }
  }
}

function reasonOf(error: unknown, path: string): string {
  const { code, message } = error as NodeJS.ErrnoException
  return code === undefined ? `${path}: ${message.split('\n')[0]}` : `${path}: ${fileFault(error)}`
}

/** As the CLI finds it: a relative XDG_CONFIG_HOME counts as absent. */
function pathIn(env: Readonly<Record<string, string | undefined>>): string {
  const config = env['XDG_CONFIG_HOME'] ?? ''
  return join(isAbsolute(config) ? config : join(homedir(), '.config'), 'isthmus/config.yaml')
}

/** The name that this fleet has, or the first that is free: nobody's, or of a fleet that was deleted. */
function nameFor(caFile: string, known: Readonly<Record<string, Known>>): string {
  const own = Object.keys(known).find((name) => /^sandbox(-\d+)?$/.test(name) && known[name]?.caFile === caFile)
  if (own !== undefined) return own
  for (let n = 1; ; n++) {
    const name = n === 1 ? 'sandbox' : `sandbox-${n}`
    const other = Object.hasOwn(known, name) ? known[name] : undefined
    const isGone = typeof other?.caFile === 'string' && !existsSync(other.caFile)
    if (!other || isGone) return name
  }
}
