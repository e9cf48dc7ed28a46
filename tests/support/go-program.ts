import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { cacheDir } from '#infra/setup/envoy.js'
import { fetchedGo } from '#infra/setup/kubernetes.js'
import { makeDirectory } from '#infra/setup/make-directory.js'

const run = promisify(execFile)

/** The programs in Go that tests ask, one file each. */
export type GoProgram = 'verify' | 'blackhole' | 'iptables-restore'

/** The Go of this machine, or undefined. */
export function findGo(): string | undefined {
  const places = [...(process.env['PATH'] ?? '').split(':').filter((path) => path !== ''), '/usr/local/go/bin']
  return [...places.map((dir) => join(dir, 'go')), fetchedGo(process.env)].find((path) => existsSync(path))
}

export const isBuilt = (name: GoProgram): boolean => existsSync(placeOf(name))

/** Its path. It is built once for each version of its source, which takes up to half a minute. */
export async function builtByGo(go: string, name: GoProgram): Promise<string> {
  const path = placeOf(name)
  if (existsSync(path)) return path
  makeDirectory(cacheDir(process.env))
  const half = `${path}.${process.pid}`
  await run(go, ['build', '-o', half, sourceOf(name)], {
    env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '' },
    cwd: tmpdir(),
  })
  renameSync(half, path)
  return path
}

function placeOf(name: GoProgram): string {
  const digest = createHash('sha256')
    .update(readFileSync(sourceOf(name)))
    .digest('hex')
  return join(cacheDir(process.env), `go-${name}-${digest.slice(0, 16)}`)
}

const sourceOf = (name: GoProgram): string => fileURLToPath(new URL(`go/${name}.go`, import.meta.url))
