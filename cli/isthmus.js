#!/usr/bin/env node
// The command `isthmus`. Plain JavaScript, because the Node that finds it may be too old for the sources: then it hands over
// to the Node 24 of this clone.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const node = join(root, 'node_modules/.bin/node')

/** Commands that are programs of their own; every other word goes to the command line proper. */
const programs = {
  ...{ serve: 'functions/server.ts', relay: 'gateway/main.ts' },
  ...{ proxy: 'gateway/proxy/main.ts', redirect: 'gateway/redirect/main.ts' },
}
const own = Object.hasOwn(programs, process.argv[2] ?? '') ? programs[process.argv[2]] : undefined
const program = join(root, own ?? 'cli/main.ts')
const args = process.argv.slice(own ? 3 : 2)

/** What an earlier start compiled: half of the time of each command. Where it cannot be written, nothing is kept. */
const compiled = join(root, 'node_modules/.cache/isthmus-compiled')

if (!existsSync(node)) {
  process.stderr.write('isthmus: Node 24 is missing, and this command runs on it: run "npm ci" in the clone.\n')
  process.exitCode = 1
} else if (!own && Number(process.versions.node.split('.')[0]) >= 24) {
  process.argv[1] = program
  module.enableCompileCache(compiled)
  await import('./main.ts')
} else {
  const child = spawn(node, [program, ...args], {
    stdio: 'inherit',
    env: { NODE_COMPILE_CACHE: compiled, ...process.env },
  })
  const pass = (signal) => {
    if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, pass)
  child.once('exit', (code, signal) => {
    process.exitCode = code ?? 128 + constants.signals[signal]
  })
}
