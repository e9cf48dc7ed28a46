import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { KubeConfig } from '@kubernetes/client-node'
import { refusal } from '#cli/failure.ts'
import type { Environment } from '#cli/io.ts'

/** How a cluster's API server is spoken to, and how a person calls that. */
export type Access = { readonly config: KubeConfig; readonly said: string }

export type Wanted = { readonly context?: string; readonly kubeconfig?: string }

/**
 * A context of the user's kubeconfig files, as kubectl finds them: `kubeconfig`, KUBECONFIG (several, merged), or
 * ~/.kube/config. Throws `not-found` or `invalid` that names the file, and the contexts that there are.
 */
export function contextAccess({ context, kubeconfig }: Wanted, env: Environment): Access {
  const files = kubeconfig === undefined ? defaultFiles(env) : [kubeconfig]
  const on = files.join(', ')
  const config = new KubeConfig()
  for (const [at, file] of files.entries()) load(config, file, at === 0)
  const contexts = config.getContexts().map(({ name }) => name)
  const name = context ?? (config.getCurrentContext() || undefined)
  const mend = 'name one: --context <name> (kubectl config get-contexts), or another file: --kubeconfig <file>'
  if (name === undefined) throw refusal({ kind: 'invalid', why: 'no context is chosen, and none is current', on, mend })
  if (!contexts.includes(name)) {
    const known = contexts.join(', ') || 'none'
    throw refusal({ kind: 'not-found', why: `there is no context "${name}" (known: ${known})`, on, mend })
  }
  config.setCurrentContext(name)
  const server = config.getCurrentCluster()?.server
  if (server === undefined || !URL.canParse(server))
    throw refusal({ kind: 'invalid', why: `context "${name}" names no cluster with a URL`, on, mend })
  return { config, said: `context ${name}` }
}

function defaultFiles(env: Environment): readonly string[] {
  const named = (env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '')
  // Of several, those that are not there count as empty, as for kubectl.
  const there = named.filter((file) => existsSync(file))
  if (named.length > 0) return there.length > 0 ? there : named
  return [join(env['HOME'] || homedir(), '.kube/config')]
}

function load(config: KubeConfig, file: string, isFirst: boolean): void {
  const more = isFirst ? config : new KubeConfig()
  try {
    more.loadFromFile(file)
    if (!isFirst) config.mergeConfig(more, true)
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ENOENT'
    throw refusal({
      kind: isMissing ? 'not-found' : 'invalid',
      // What a parser says repeats lines of the file, which holds keys.
      why: isMissing ? 'there is no such kubeconfig' : 'this is no kubeconfig',
      ...{ on: file, mend: 'name the right file: --kubeconfig <file>, or KUBECONFIG', cause },
    })
  }
}
