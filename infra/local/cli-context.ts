import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { parse, stringify } from 'yaml'
import { caFileOf, centreUrl, keyFileOf } from './centre.ts'
import { relayAddress, type SandboxPlan, statusPort } from './plan.ts'
import { replaceFile } from './replace-file.ts'

/** Writes the CLI's context `sandbox`; the file holds the path of the key, never the key. Other contexts stay. */
export function writeCliContext(plan: SandboxPlan, env: Readonly<Record<string, string | undefined>>): void {
  const path = join(env['XDG_CONFIG_HOME'] || join(homedir(), '.config'), 'isthmus/config.yaml')
  const before = existsSync(path) ? (parse(readFileSync(path, 'utf8')) as Record<string, unknown> | null) : null
  const context = {
    url: centreUrl(plan),
    caFile: caFileOf(plan),
    keyFile: keyFileOf(plan),
    relays: Object.fromEntries(plan.clusters.map((c) => [c.name, `http://${relayAddress(c)}:${statusPort}`])),
  }
  const contexts = { ...((before?.['contexts'] as object | undefined) ?? {}), sandbox: context }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  replaceFile(path, stringify({ ...before, current: before?.['current'] ?? 'sandbox', contexts }), 0o600)
}
