import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { centreSecret, firstAdminKey, passphraseOf } from '#control/first-files.ts'

const file = new URL('first-files.ts', import.meta.url).href
const random = (bytes: number) => new Uint8Array(bytes).fill(7)

test.each([
  ['passphrase', "passphraseOf({ keysDir: '.', env: {}, random })"],
  ['answers.key', "centreSecret('.', random)"],
  ['admin.key', "firstAdminKey('admin.key', random)"],
])('no room for %s: nothing is left behind, and the next start makes it', (name, call) => {
  const dir = mkdtempSync(join(tmpdir(), 'first-files-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const source = `
    import { centreSecret, firstAdminKey, passphraseOf } from '${file}'
    const random = (bytes) => new Uint8Array(bytes)
    try { ${call} } catch (error) { console.log(error.message) }`
  // Files may not grow beyond nothing: opened, they are; written, they are not.
  const script = 'ulimit -f 0 && exec "$0" --input-type=module -e "$1"'
  const { stdout } = spawnSync('sh', ['-c', script, process.execPath, source], { cwd: dir, encoding: 'utf8' })
  expect(stdout).toMatch(/ cannot be written: EFBIG/)
  expect(readdirSync(dir)).toEqual([])
  if (name === 'passphrase') passphraseOf({ keysDir: dir, env: {}, random })
  if (name === 'answers.key') centreSecret(dir, random)
  if (name === 'admin.key') firstAdminKey(join(dir, name), random)
  expect(readdirSync(dir)).toEqual([name])
})
