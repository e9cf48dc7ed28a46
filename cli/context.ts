import { X509Certificate } from 'node:crypto'
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, isAbsolute, join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { refusal } from '#cli/failure.ts'
import type { Environment } from '#cli/io.ts'
import { makeDirectory } from '#cli/make-directory.ts'
import { readBounded } from '#cli/read-bounded.ts'
import type { Send } from '#cli/send.ts'
import { fileFault } from '#mesh/model/file-fault.ts'

/** Where a centre is and how to speak to it. Files hold the secrets; this only names them. */
const contextSchema = z.object({
  url: z.string(),
  caFile: z.string().optional(),
  keyFile: z.string().optional(),
  /** Status addresses of relays by cluster, for when the centre is away. */
  relays: z.record(z.string(), z.string()).optional(),
  /** Socket of the running sandbox; absent where the centre is no sandbox's. */
  sandbox: z.string().optional(),
})
export type Context = z.infer<typeof contextSchema>

const fileSchema = z.object({
  current: z.string().optional(),
  contexts: z.record(z.string(), contextSchema).default({}),
})
export type ContextFile = z.infer<typeof fileSchema>

/** A relative XDG_CONFIG_HOME counts as absent, and an absent HOME is what the system says of this user (XDG, "all paths"). */
export function contextPath(env: Environment): string {
  const config = env['XDG_CONFIG_HOME'] ?? ''
  return join(isAbsolute(config) ? config : join(env['HOME'] || homedir(), '.config'), 'isthmus/config.yaml')
}

/** The context file; an absent one is empty. Throws `invalid` naming the file where it is not understood. */
export function loadContexts(env: Environment): ContextFile {
  const path = contextPath(env)
  const text = textOf(path)
  if (text === undefined) return { contexts: {} }
  try {
    return fileSchema.parse(parse(text) ?? {})
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause).replaceAll(/\s*\n\s*/g, ' ') : firstLine(cause)
    throw refusal({
      ...{ kind: 'invalid', why: `this is not a context file: ${reason}`, on: path, cause },
      mend: `correct it, or remove it; ${without}`,
    })
  }
}

const firstLine = (cause: unknown): string => (cause as Error).message.split('\n')[0] ?? ''
const without = 'or say all with --url, --ca-file and --key-file'

/** Undefined where there is no file; a path that leads through a file has none either. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined
    throw refusal({
      ...{ kind: 'unavailable', why: `the context file cannot be read: ${fileFault(cause)}`, on: path, cause },
      mend: `make it readable, or set XDG_CONFIG_HOME to another directory; ${without}`,
    })
  }
}

/** Throws `unavailable` where the file cannot be written: the one before is as it was. */
export function saveContexts(env: Environment, file: ContextFile): void {
  const path = contextPath(env)
  const fresh = `${path}.${process.pid}`
  try {
    makeDirectory(dirname(path))
    writeFileSync(fresh, stringify(file), { mode: 0o600 })
    renameSync(fresh, path)
  } catch (cause) {
    try {
      rmSync(fresh, { force: true })
    } catch {
      // Where nothing can be written there is nothing to remove.
    }
    throw refusal({
      ...{ kind: 'unavailable', why: `the context file cannot be written: ${fileFault(cause)}`, on: path, cause },
      mend: `set XDG_CONFIG_HOME to a directory that can be written; ${without}`,
    })
  }
}

export type Target = {
  readonly context?: string
  readonly url?: string
  readonly keyFile?: string
  readonly caFile?: string
}

/** A context with its key and CA read: what a call needs. */
export type Centre = {
  /** The context's name; absent where the URL was given by itself. */
  readonly name?: string
  readonly url: string
  readonly key?: string
  readonly ca?: string
  readonly relays: Readonly<Record<string, string>>
  /** How requests travel; over the network where absent. */
  readonly send?: Send
}

/**
 * The centre to speak to: flags, then environment (ISTHMUS_URL, ISTHMUS_API_KEY, ISTHMUS_CA_FILE), then the chosen or
 * the current context. The context file is read only where it is needed. Throws `invalid` that says what is missing and
 * the command that mends it.
 */
export function chooseCentre(target: Target, env: Environment): Centre {
  const { name, context } = contextOf(target, env)
  const url = parseCentreUrl(target.url ?? (env['ISTHMUS_URL'] || context?.url))
  const keyFile = target.keyFile ?? context?.keyFile
  const caFile = target.caFile ?? (env['ISTHMUS_CA_FILE'] || context?.caFile)
  const given = target.keyFile === undefined ? env['ISTHMUS_API_KEY'] : undefined
  const key = (given || (keyFile ? readText(keyFile, 'key') : undefined))?.trim()
  if (key !== undefined && !/^[\x21-\x7e]{1,512}$/.test(key))
    throw refusal({
      ...{ kind: 'invalid', why: 'this holds no operator key', on: given ? 'ISTHMUS_API_KEY' : `${keyFile}` },
      mend: 'name the right file: --key-file <file>',
    })
  return {
    url,
    ...(name === undefined ? {} : { name }),
    relays: context?.relays ?? {},
    ...(key === undefined ? {} : { key }),
    ...(caFile ? { ca: readCa(caFile) } : {}),
  }
}

function contextOf({ context, url }: Target, env: Environment): { readonly name?: string; readonly context?: Context } {
  if (context === undefined && (url || env['ISTHMUS_URL'])) return {}
  const file = loadContexts(env)
  const name = context ?? file.current
  return name === undefined ? {} : { name, context: namedContext(file, name) }
}

/** Throws `not-found` with the names that there are. */
export function namedContext({ contexts }: ContextFile, name: string): Context {
  const found = Object.hasOwn(contexts, name) ? contexts[name] : undefined
  if (found) return found
  const known = Object.keys(contexts).join(', ') || 'none'
  throw refusal({
    ...{ kind: 'not-found', why: `there is no context "${name}" (known: ${known})`, on: `context ${name}` },
    mend: 'isthmus context list',
  })
}

/** Throws `invalid`, with the ways to name one. */
export function parseCentreUrl(text: string | undefined): string {
  if (text === undefined)
    throw refusal({
      ...{ kind: 'invalid', why: 'no centre is chosen', on: 'the command line: no --url, ISTHMUS_URL or context' },
      mend: 'start the sandbox (npm start), or name a centre: isthmus context add <name> --url https://<host>:<port>',
    })
  const url = URL.canParse(text) ? new URL(text) : undefined
  const open = url && (url.username || url.password) ? new URL(url.pathname, `${url.protocol}//${url.host}`).href : text
  if (url?.protocol === 'https:' && open === text) return text
  throw refusal({
    ...(open === text
      ? { kind: 'invalid', why: 'this is not an https URL of a centre', on: text || 'an empty URL' }
      : { kind: 'invalid', why: 'a URL is no place for a user or password: keys are in files', on: open }),
    mend: 'give one such as --url https://127.0.0.1:7400',
  })
}

function readCa(path: string): string {
  const pem = readText(path, 'CA')
  try {
    new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw refusal({
      ...{ kind: 'invalid', why: 'the CA file holds no PEM certificate', on: path, cause },
      mend: 'name the right one: --ca-file <file>',
    })
  }
}

/** More than any bundle of roots. */
const textBytesMax = 1 << 20

function readText(path: string, what: 'CA' | 'key'): string {
  try {
    return readBounded(path, textBytesMax).toString('utf8')
  } catch (cause) {
    const flag = what === 'CA' ? '--ca-file' : '--key-file'
    throw refusal({
      ...{ kind: 'not-found', why: `the ${what} file cannot be read: ${fileFault(cause)}`, on: path, cause },
      mend: `name the one that the centre wrote at its first start: ${flag} <file> (isthmus context list)`,
    })
  }
}
