import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { Problem } from '#mesh/model/problem.ts'

/** Where a centre is and how to speak to it. Files hold the secrets; this only names them. */
const contextSchema = z.object({
  url: z.string(),
  caFile: z.string().optional(),
  keyFile: z.string().optional(),
  /** Status addresses of relays by cluster, for when the centre is away. */
  relays: z.record(z.string(), z.string()).optional(),
})
export type Context = z.infer<typeof contextSchema>

const fileSchema = z.object({
  current: z.string().optional(),
  contexts: z.record(z.string(), contextSchema).default({}),
})
export type ContextFile = z.infer<typeof fileSchema>

type Environment = Readonly<Record<string, string | undefined>>

export const contextPath = (env: Environment): string =>
  join(env['XDG_CONFIG_HOME'] || join(env['HOME'] ?? '.', '.config'), 'isthmus/config.yaml')

/** The context file; an absent one is empty. Throws `invalid` naming the file where it is not understood. */
export function loadContexts(env: Environment): ContextFile {
  const path = contextPath(env)
  if (!existsSync(path)) return { contexts: {} }
  try {
    return fileSchema.parse(parse(readFileSync(path, 'utf8')) ?? {})
  } catch (cause) {
    throw new Problem('invalid', `${path} is not a context file: ${(cause as Error).message}; mend it or remove it`, {
      cause,
    })
  }
}

export function saveContexts(env: Environment, file: ContextFile): void {
  const path = contextPath(env)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  writeFileSync(`${path}.new`, stringify(file), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

export type Target = {
  readonly context?: string
  readonly url?: string
  readonly keyFile?: string
  readonly caFile?: string
}

/** A context with its key and CA read: what a call needs. */
export type Centre = {
  readonly url: string
  readonly key?: string
  readonly ca?: string
  readonly relays: Readonly<Record<string, string>>
}

/**
 * The centre to speak to: flags, then environment (ISTHMUS_URL, ISTHMUS_API_KEY, ISTHMUS_CA_FILE), then the chosen or
 * the current context. Throws `invalid` that says what is missing and the command that mends it.
 */
export function chooseCentre(target: Target, env: Environment): Centre {
  const file = loadContexts(env)
  const name = target.context ?? (target.url || env['ISTHMUS_URL'] ? undefined : file.current)
  const context = name === undefined ? undefined : file.contexts[name]
  if (name !== undefined && !context)
    throw new Problem('not-found', `there is no context "${name}"; see: isthmus context list`)
  const url = target.url ?? (env['ISTHMUS_URL'] || context?.url)
  if (url === undefined)
    throw new Problem(
      'invalid',
      'no centre is chosen: start the sandbox with npm start, or: isthmus context add <name> --url https://…',
    )
  if (!URL.canParse(url) || new URL(url).protocol !== 'https:')
    throw new Problem('invalid', `"${url}" is not an https URL of a centre`)
  const keyFile = target.keyFile ?? context?.keyFile
  const caFile = target.caFile ?? (env['ISTHMUS_CA_FILE'] || context?.caFile)
  const given = target.keyFile === undefined ? env['ISTHMUS_API_KEY'] : undefined
  const key = (given || (keyFile ? readText(keyFile, 'key') : undefined))?.trim()
  if (key !== undefined && !/^[\x21-\x7e]{1,512}$/.test(key))
    throw new Problem(
      'invalid',
      `${given ? 'ISTHMUS_API_KEY' : keyFile} holds no operator key: name another with --key-file`,
    )
  return {
    url,
    relays: context?.relays ?? {},
    ...(key === undefined ? {} : { key }),
    ...(caFile ? { ca: readCa(caFile) } : {}),
  }
}

function readCa(path: string): string {
  const pem = readText(path, 'CA')
  try {
    new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw new Problem('invalid', `the CA file ${path} holds no PEM certificate: name the right one with --ca-file`, {
      cause,
    })
  }
}

function readText(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Problem(
      'not-found',
      `the ${what} file ${path} cannot be read: ${(cause as Error).message}; is the centre ready yet? see: isthmus context list`,
      { cause },
    )
  }
}
