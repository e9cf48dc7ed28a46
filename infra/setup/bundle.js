// One file per program, by esbuild: what a member cluster, an image and the end-to-end tests run. Node 20 can run this.
import { createHash } from 'node:crypto'
import { cpSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Program name → entry file. A program whose entry is not written yet is left out. */
export const programs = {
  relay: 'gateway/main.ts',
  proxy: 'gateway/proxy/main.ts',
  redirect: 'gateway/redirect/main.ts',
  centre: 'functions/server.ts',
}

const launcher = fileURLToPath(new URL('launch.cjs', import.meta.url))

/** Read from node_modules at run time: PGlite opens its own wasm files, and ws looks for two optional addons. */
const external = ['@electric-sql/pglite', '@electric-sql/pglite/*', 'bufferutil', 'utf-8-validate', 'pg-native']

/** A program is CommonJS: the engine keeps what it compiled of a script, see launch.cjs, but of a module only a part. */
const program = {
  format: 'cjs',
  banner: { js: "'use strict'; const fileUrl = require('node:url').pathToFileURL(__filename).href;" },
  define: { 'import.meta.url': 'fileUrl' },
}

/** Packages in CommonJS call `require`; a worker is a module, for it may wait at its top level, and has none of its own. */
const worker = {
  format: 'esm',
  banner: {
    js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
  },
  outExtension: { '.js': '.mjs' },
}

/**
 * Makes dist/<program>.js (Node 24, with source map) when a source changed; gives back the paths by program name.
 * Throws what esbuild says when a source does not build: then dist/ is gone, so an old bundle never passes for a new one.
 */
export async function bundle(root) {
  const wanted = Object.entries(programs).filter(([, entry]) => existsSync(join(root, entry)))
  const dist = join(root, 'dist')
  const paths = Object.fromEntries(wanted.map(([name]) => [name, join(dist, `${name}.js`)]))
  const stamp = readStamp(join(dist, 'stamp.json'))
  if (stamp?.digest === digestOf(root, wanted, stamp?.inputs ?? [])) return paths

  const work = join(root, `dist.${process.pid}`)
  try {
    const inputs = await build(root, wanted, work)
    writeFileSync(join(work, 'package.json'), '{"type":"commonjs"}')
    cpSync(launcher, join(work, 'launch.js'))
    for (const [name] of wanted) writeFileSync(join(work, `${name}.js`), startOf(name, work))
    writeFileSync(join(work, 'stamp.json'), JSON.stringify({ digest: digestOf(root, wanted, inputs), inputs }))
    putInPlace(work, dist)
  } catch (error) {
    rmSync(dist, { recursive: true, force: true })
    throw error
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  return paths
}

/** Another build, or a program that writes its compiled code, may be at the same folder: then it is taken away again. */
function putInPlace(work, dist) {
  for (let tries = 1; ; tries++) {
    rmSync(dist, { recursive: true, force: true, maxRetries: 5 })
    try {
      return renameSync(work, dist)
    } catch (error) {
      if (error.code !== 'ENOTEMPTY' || tries === 20) throw error
    }
  }
}

function startOf(name, work) {
  const digest = createHash('sha256')
    .update(readFileSync(join(work, `${name}-program.js`)))
    .digest('hex')
  return `require('./launch.js')('${name}', '${digest}')\n`
}

/** Builds all programs at once, and then the worker files that they name; gives back every file of ours that went in. */
async function build(root, wanted, work) {
  const { build: esbuild } = await import('esbuild')
  const inputs = new Set()
  const built = new Set()
  let entries = wanted.map(([name, entry]) => ({ in: entry, out: `${name}-program` }))
  let form = program
  while (entries.length > 0) {
    const workers = new Set()
    const { metafile } = await esbuild({
      absWorkingDir: root,
      entryPoints: entries,
      outdir: work,
      bundle: true,
      ...form,
      platform: 'node',
      target: 'node24',
      sourcemap: 'linked',
      minifyWhitespace: true,
      minifySyntax: true,
      legalComments: 'none',
      logLevel: 'error',
      metafile: true,
      external,
      plugins: [filesBeside(root, workers), registryOnce],
    })
    for (const entry of entries) built.add(entry.in)
    for (const file of Object.keys(metafile.inputs)) if (!file.startsWith('node_modules/')) inputs.add(file)
    entries = [...workers].filter((file) => !built.has(file)).map((file) => ({ in: file, out: basename(file, '.ts') }))
    form = worker
  }
  return [...inputs].sort()
}

/**
 * `new URL('./x', import.meta.url)` names a file beside the source. In a bundle a `.ts` file becomes a bundle of its own in
 * dist/ (a worker), and anything else (migrations, pages) is read where it lies.
 */
function filesBeside(root, workers) {
  const beside = /new URL\((['"])(\.{1,2}\/[^'"]+)\1,\s*import\.meta\.url\)/g
  return {
    name: 'files-beside',
    setup({ onLoad }) {
      onLoad({ filter: /\.ts$/ }, ({ path }) => {
        const text = readFileSync(path, 'utf8')
        const contents = text.replace(beside, (_, __, name) => {
          const file = relative(root, join(dirname(path), name))
          if (!file.endsWith('.ts')) return `new URL('../${file}${name.endsWith('/') ? '/' : ''}', import.meta.url)`
          workers.add(file)
          return `new URL('./${basename(file, '.ts')}.mjs', import.meta.url)`
        })
        return { contents, loader: 'ts' }
      })
    },
  }
}

/**
 * The protobuf library builds a registry for every file by walking all of its imports, again for each path that leads to
 * one: with Envoy's files that was a third of a second at every start (profiled 2026-11, library 2.17.0). A file that the
 * registry holds already has nothing to add. Fails when the library's text changes, so that the reason is looked at anew.
 */
const registryOnce = {
  name: 'registry-once',
  setup({ onLoad }) {
    onLoad({ filter: /@bufbuild\/protobuf\/dist\/esm\/registry\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8')
      const start = 'addFile(file, skipTypes, withDeps) {'
      if (!text.includes(start)) throw new Error(`${path} has changed: see registryOnce in infra/setup/bundle.js`)
      return {
        contents: text.replace(start, `${start} if (withDeps && files.has(file.proto.name)) return;`),
        loader: 'js',
      }
    })
  },
}

/** Over the sources that went in, this file, the locked packages and the list of programs. */
function digestOf(root, wanted, inputs) {
  const hash = createHash('sha256').update(JSON.stringify(wanted))
  for (const path of [
    fileURLToPath(import.meta.url),
    launcher,
    join(root, 'package-lock.json'),
    join(root, 'package.json'),
  ])
    hash.update(readFileSync(path))
  for (const file of inputs) {
    const path = join(root, file)
    hash.update(`\0${file}\0`).update(existsSync(path) ? readFileSync(path) : 'gone')
  }
  return hash.digest('hex')
}

function readStamp(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}
