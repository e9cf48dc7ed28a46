// npm leaves an optional package out of package-lock.json when the registry it asked does not hold it, and "npm ci" then
// refuses the lock. After a change of dependencies run "node infra/setup/complete-lock.js": it names those packages. They
// are for machines that Isthmus does not run on, so nobody ever installs them, and they need no digest.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The optional packages that a locked package asks for and the lock does not hold, as `{ path, name, version }`. */
export function gapsOf(packages) {
  return Object.entries(packages).flatMap(([path, entry]) =>
    Object.entries(entry.optionalDependencies ?? {})
      .filter(([name]) => !holds(packages, path, name))
      .map(([name, version]) => ({ path: `node_modules/${name}`, name, version, dev: entry.dev })),
  )
}

/** The lock with an entry for each gap. Throws when a gap is for a machine that we do run on: that one must be fetched. */
export function completed(lock) {
  const added = gapsOf(lock.packages).map(({ path, name, version, dev }) => {
    const [, os, cpu, libc] = /-(android|darwin|freebsd|linux|win32)-(\w+?)(?:-(musl|gnu))?$/.exec(name) ?? []
    const ours = os === 'linux' && ['x64', 'arm64', 'aarch64'].includes(cpu) && libc !== 'musl'
    if (!os || ours) throw new Error(`${name} ${version} is missing in the lock, and this project needs it`)
    return [
      path,
      { version, cpu: [cpu], ...(dev && { dev }), ...(libc === 'musl' && { libc: [libc] }), optional: true, os: [os] },
    ]
  })
  const entries = [...Object.entries(lock.packages), ...added]
  const sorted = entries.sort(([a], [b]) => (a < b ? -1 : 1))
  return { ...lock, packages: Object.fromEntries(sorted) }
}

/** As Node looks for it: from the package outwards. */
function holds(packages, path, name) {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('node_modules/') - 1))) {
    if (packages[`${at}${at && '/'}node_modules/${name}`]) return true
    if (at === '') return false
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = fileURLToPath(new URL('../../package-lock.json', import.meta.url))
  const lock = JSON.parse(readFileSync(file, 'utf8'))
  writeFileSync(file, `${JSON.stringify(completed(lock), null, 2)}\n`)
  process.stdout.write(`package-lock.json: ${gapsOf(lock.packages).length} packages added\n`)
}
