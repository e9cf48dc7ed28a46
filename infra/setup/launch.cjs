'use strict'
// Copied into dist/, beside the programs: Node 24 runs it there.
const { createHash } = require('node:crypto')
const { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } = require('node:fs')
const { dirname, join } = require('node:path')
const { Script } = require('node:vm')

const head = '(function (exports, require, module, __filename, __dirname) {'
/**
 * When it is written: once the program is up, for one that is killed leaves nothing behind at its end, and when it may have
 * served somebody. Not later: the engine forgets what ran only at the start (a relay of a minute gave back more than
 * one of three seconds, without that, and the next start took 45 ms longer). What was written at the last look is kept.
 */
const looksMs = [1000, 3000]
const digestBytes = 32

/**
 * Runs the program of that name with the code that an earlier start compiled: also with that of functions which ran only
 * later than they were loaded, which is most of them, and which Node's own compile cache leaves out. Where nothing is
 * found, or its folder may not be written, the program just takes longer. `digest` is that of the program's text: the
 * engine itself looks at no more than its length.
 */
module.exports = function launch(name, digest) {
  const file = join(__dirname, `${name}-program.js`)
  const kept = join(__dirname, 'compiled', [name, digest, process.version, process.arch, process.getuid?.()].join('-'))
  const { compiled: cachedData, look = 0 } = readKept(kept) ?? {}
  // The bundler writes ASCII alone, which is read fastest as this.
  const text = `${head}${readFileSync(file, 'latin1')}\n})`
  const script = new Script(text, { filename: file, columnOffset: -head.length, cachedData })
  let had = cachedData && !script.cachedDataRejected ? cachedData.length : 0
  const keep = (look) => {
    const compiled = script.createCachedData()
    if (compiled.length <= had) return
    had = compiled.length
    writeKept(kept, compiled, look)
  }
  for (const [i, ms] of looksMs.entries()) if (had === 0 || i >= look) setTimeout(keep, ms, i + 1).unref()
  if (had === 0) process.once('exit', () => had === 0 && keep(0))
  script.runInThisContext()(module.exports, require, module, file, __dirname)
}

/** What was written whole, and at which look; or nothing: the engine does not notice that a byte of it has changed. */
function readKept(path) {
  try {
    const bytes = readFileSync(path)
    const body = bytes.subarray(0, -digestBytes)
    if (!digestOf(body).equals(bytes.subarray(-digestBytes))) return undefined
    return { compiled: body.subarray(0, -1), look: body.at(-1) }
  } catch {
    return undefined
  }
}

function writeKept(path, compiled, look) {
  const fresh = `${path}.${process.pid}`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const body = Buffer.concat([compiled, Buffer.of(look)])
    writeFileSync(fresh, Buffer.concat([body, digestOf(body)]), { mode: 0o600 })
    renameSync(fresh, path)
  } catch {
    try {
      rmSync(fresh, { force: true })
    } catch {
      // The folder is another user's, who lets nobody look into it.
    }
  }
}

const digestOf = (bytes) => createHash('sha256').update(bytes).digest()
