import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { operatorKeyPrefix } from '#control/authenticate.ts'
import { codeOf, writeNewFile } from '#control/keys/new-file.ts'
import { type PassphraseSource, readPassphrase } from '#control/keys/passphrase.ts'
import { makeDirectory } from '#control/store/make-directory.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { Problem } from '#mesh/model/problem.ts'

type Random = (bytes: number) => Uint8Array

/**
 * The passphrase of the sealed keys: from the setting, or from `passphrase` beside them, which is made at the first
 * start. Throws `conflict` where keys are there and that file is not: a new passphrase would open none of them.
 */
export function passphraseOf(settings: {
  readonly keysDir: string
  readonly passphrase?: PassphraseSource | undefined
  readonly env: Readonly<Record<string, string | undefined>>
  readonly random: Random
}): Uint8Array {
  if (settings.passphrase) return readPassphrase(settings.passphrase, settings.env)
  const path = resolve(settings.keysDir, 'passphrase')
  if (!existsSync(path)) {
    // The root's key may lie elsewhere; that of the control-plane CA is always here.
    if (['root-1.key', 'control-plane-1.key'].some((name) => existsSync(join(settings.keysDir, name))))
      throw new Problem(
        'conflict',
        `${path} is missing and the keys beside it are sealed with what it held: restore it, or name another source`,
      )
    writeNew(path, `${Buffer.from(settings.random(32)).toString('hex')}\n`, settings.random)
  }
  return readPassphrase({ kind: 'file', path }, settings.env)
}

/** 32 random bytes that no restart changes, in `answers.key`. */
export function centreSecret(keysDir: string, random: Random): Uint8Array {
  const path = join(keysDir, 'answers.key')
  if (!existsSync(path)) writeNew(path, `${Buffer.from(random(32)).toString('hex')}\n`, random)
  const text = readPrivate(path).trim()
  if (!/^[0-9a-f]{64}$/.test(text)) throw new Problem('conflict', `${path} is damaged: remove it, a new one is made`)
  return Buffer.from(text, 'hex')
}

/** The key in the file, made where there is none. Throws `conflict` where the file holds something else. */
export function firstAdminKey(path: string, random: Random): string {
  if (!existsSync(path)) {
    makeDirectoryOf(path)
    writeNew(path, `${operatorKeyPrefix}${Buffer.from(random(32)).toString('base64url')}\n`, random)
  }
  const key = readPrivate(path).trim()
  if (!key.startsWith(operatorKeyPrefix) || key.length < 50)
    throw new Problem('conflict', `${path} is there and holds no operator key: name another file by --key-file`)
  return key
}

function makeDirectoryOf(path: string): void {
  try {
    makeDirectory(dirname(path))
  } catch (cause) {
    const text = `${dirname(path)} cannot be made: ${fileFault(cause)}; name another place by --key-file`
    throw new Problem('unavailable', text, { cause })
  }
}

function readPrivate(path: string): string {
  const mode = statSync(path).mode & 0o777
  if ((mode & 0o077) !== 0)
    throw new Problem(
      'conflict',
      `${path} has mode ${mode.toString(8)}: others may have read it; chmod 600 if nobody did`,
    )
  return readFileSync(path, 'utf8')
}

/** One that another start has written meanwhile is as good: it is read by both. */
function writeNew(path: string, text: string, random: Random): void {
  try {
    writeNewFile(path, text, random(8))
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') return
    throw new Problem('unavailable', `${path} cannot be written: ${fileFault(cause)}`, {
      cause,
    })
  }
}
