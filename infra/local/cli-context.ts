import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { parse, stringify } from 'yaml'
import { caFileOf, centreUrl, keyFileOf } from './centre.ts'
import { relayAddress, type SandboxPlan, statusPort } from './plan.ts'
import { replaceFile } from './replace-file.ts'

/**
 * Writes the CLI's context `sandbox`; the file holds the path of the key, never the key. Other contexts stay, and so does
 * the one that is current. Gives the words that the CLI needs to find the sandbox: none where it is current. A file that
 * is not understood is the user's to mend: it stays as it is.
 */
export function writeCliContext(plan: SandboxPlan, env: Readonly<Record<string, string | undefined>>): string {
  const path = join(env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'isthmus/config.yaml')
  const direct = `--url ${centreUrl(plan)} --ca-file ${caFileOf(plan)} --key-file ${keyFileOf(plan)} `
  const context = {
    url: centreUrl(plan),
    caFile: caFileOf(plan),
    keyFile: keyFileOf(plan),
    relays: Object.fromEntries(plan.clusters.map((c) => [c.name, `http://${relayAddress(c)}:${statusPort}`])),
  }
  try {
    const before = existsSync(path) ? (parse(readFileSync(path, 'utf8')) as Record<string, unknown> | null) : null
    const contexts = { ...((before?.['contexts'] as object | undefined) ?? {}), sandbox: context }
    const current = before?.['current'] ?? 'sandbox'
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    replaceFile(path, stringify({ ...before, current, contexts }), 0o600)
    return current === 'sandbox' ? '' : '--context sandbox '
  } catch {
    return direct
  }
}
