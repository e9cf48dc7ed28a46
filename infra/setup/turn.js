import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { makeDirectory } from './make-directory.js'
import { SetupError, say } from './say.js'

/**
 * Runs `work` while no other set-up of this clone runs: two `npm test` at once would pull node_modules from under each
 * other. A turn left behind by a dead process is taken over.
 */
export async function withTurn(dir, abort, work) {
  makeDir(dir)
  const path = join(dir, 'setup.pid')
  for (let told = false; !take(path); told = true) {
    const pid = holder(path)
    if (pid && !existsSync(`/proc/${pid}`)) rmSync(path, { force: true })
    else {
      if (!told) say(`another set-up of this clone (process ${pid}) is at work; waiting for it …`)
      await wait(200, undefined, { signal: abort })
    }
  }
  try {
    return await work()
  } finally {
    rmSync(path, { force: true })
  }
}

/** The file appears with its content in one step, so nobody ever reads a holder without a name. */
function take(path) {
  const own = `${path}.${process.pid}`
  writeFileSync(own, String(process.pid))
  try {
    linkSync(own, path)
    return true
  } catch (error) {
    if (error.code === 'EEXIST') return false
    throw error
  } finally {
    rmSync(own, { force: true })
  }
}

function holder(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function makeDir(dir) {
  try {
    makeDirectory(dir)
  } catch (error) {
    throw new SetupError(
      `${dir} cannot be made (${error.code}): the clone's folder must be writable; make it so and try again.`,
    )
  }
}
