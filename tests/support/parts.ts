import { fileURLToPath } from 'node:url'
import { bundle } from '#infra/setup/bundle.js'
import { findEnvoy } from '#infra/setup/envoy.js'

/** The clone. */
export const root: string = fileURLToPath(new URL('../..', import.meta.url))

/**
 * The path of the Envoy that tests run against. Throws when there is none: a suite that needs it fails, it is never skipped.
 * `npm test` fetches it beforehand; this also works under `vitest` alone once it is cached.
 */
export async function envoyPath(): Promise<string> {
  const given = process.env['ISTHMUS_ENVOY']
  if (given) return given
  const found = await findEnvoy()
  if (found) return found
  throw new Error('Envoy is missing, and this suite tests against the real one: run "npm test", which fetches it.')
}

export type Program = 'relay' | 'proxy' | 'centre'

/** The path of a bundled program, built first where a source changed. Throws what esbuild says, or that it has no entry yet. */
export async function programPath(name: Program): Promise<string> {
  bundles ??= bundle(root)
  const path = (await bundles)?.[name]
  if (!path) throw new Error(`the program "${name}" has no entry file: infra/setup/bundle.js says where it should be.`)
  return path
}
let bundles: Promise<Record<string, string>> | undefined

export { type Postgres, startPostgres } from '#tests/support/postgres.ts'
