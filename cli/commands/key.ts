import { writeFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { listAll } from '#cli/call-centre.ts'
import { mended } from '#cli/commands/cluster.ts'
import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { cell, type Format, type Row, render } from '#cli/output.ts'
import { absolute, outputOption, type Tools } from '#cli/tools.ts'
import { self } from '#mesh/model/failure-text.ts'
import { fileFault } from '#mesh/model/file-fault.ts'
import { shellWord } from '#mesh/model/shell-word.ts'

type CreateOptions = {
  readonly role: string
  readonly expires?: string
  readonly out?: string
  readonly output: Format
}

/** `key create|revoke`: who may speak to the centre. */
export function keyCommands(program: Command, tools: Tools): void {
  const key = program.command('key').description('operators’ keys: create, revoke').helpGroup('To change:')
  key
    .command('create')
    .description('makes a key, which is shown this once')
    .argument('<name>', 'whose it is, e.g. ci')
    .addOption(
      new Option('--role <role>', 'viewer reads, operator changes, admin makes keys')
        .choices(['viewer', 'operator', 'admin'])
        .default('viewer'),
    )
    .option('--expires <when>', 'when it ends: 90d, 12h, or a time as 2027-01-31T00:00:00Z')
    .option('--out <file>', 'writes it to a new file (mode 0600) instead of showing it')
    .addOption(outputOption())
    .action(async (name: string, options: CreateOptions) => {
      const { role, expires, out, output } = options
      const expiresAt = expires === undefined ? {} : { expiresAt: endOf(expires, tools.io.now()) }
      const to = tools.centre()
      if (out !== undefined) reserve(out)
      const call = { method: 'POST', path: '/v1/operator-keys', body: { name, role, ...expiresAt } }
      const made = (await mended(to, call, { invalid: 'isthmus key create --help' })).body as Row
      const { key: secret, ...shown } = made
      if (out !== undefined) writeFileSync(out, `${cell(secret)}\n`)
      if (output !== 'table') {
        const row = out === undefined ? made : { ...shown, file: absolute(out) }
        return tools.print(render({ rows: [row], columns: [], single: true }, output, tools.io.now()))
      }
      const until = made['expiresAt'] ? `until ${cell(made['expiresAt'])}` : 'without an end'
      const what = `Key ${name} is made: role ${role}, ${until}, id ${cell(made['id'])}.`
      tools.print(
        out === undefined
          ? `${what} It is shown this once:\n  ${cell(secret)}\n`
          : `${what} It is in ${out}. To use it:\n  ${self} --key-file ${shellWord(out)} status\n`,
      )
    })
  key
    .command('revoke')
    .description('revokes a key at once')
    .argument('<id>', 'its id, or its name where only one live key has that')
    .action(async (said: string) => {
      const to = tools.centre()
      const { id, name } = await keyOf(to, said)
      const path = `/v1/operator-keys/${encodeURIComponent(id)}`
      await mended(to, { method: 'DELETE', path }, { 'not-found': 'isthmus get operator-keys', conflict: lastAdmin })
      tools.print(`Key ${name} (${id}) is revoked: what it opens is shut from now on.\n`)
    })
}

const lastAdmin = 'isthmus key create <name> --role admin, then repeat the command'

/** The key that is meant. A name may be on many; one that is taken for another would shut the wrong door. */
async function keyOf(centre: Centre, said: string): Promise<{ readonly id: string; readonly name: string }> {
  const all = await listAll(centre, '/v1/operator-keys')
  const isLive = (row: Row) => row['revokedAt'] === null || row['revokedAt'] === undefined
  const byId = all.filter((row) => row['id'] === said)
  const found = byId.length > 0 ? byId : all.filter((row) => row['name'] === said && isLive(row))
  const [only, ...more] = found
  const on = `${centre.url}/v1/operator-keys`
  if (!only)
    throw refusal({ kind: 'not-found', why: `no live key is named ${said}`, on, mend: 'isthmus get operator-keys' })
  if (more.length > 0) {
    const ids = found.map(({ id }) => cell(id)).join(', ')
    throw refusal({
      ...{ kind: 'conflict', why: `${found.length} keys are named ${said}: ${ids}`, on },
      mend: 'isthmus key revoke <id>',
    })
  }
  return { id: cell(only['id']), name: cell(only['name']) }
}

const unitMs: Readonly<Record<string, number>> = { h: 3_600_000, d: 86_400_000 }

/** A moment from now, or as given, as RFC 3339. Throws `invalid`. */
function endOf(text: string, now: number): string {
  const [, count, unit] = /^(\d{1,5})([dh])$/.exec(text) ?? []
  const at = count && unit ? now + Number(count) * (unitMs[unit] ?? 0) : Date.parse(text)
  if (Number.isFinite(at) && at > now) return new Date(at).toISOString()
  throw refusal({
    ...{ kind: 'invalid', why: `"${text}" is not a time to come`, on: '--expires' },
    mend: 'give one such as 90d, 12h or 2027-01-31T00:00:00Z',
  })
}

/** Makes the file before the key, so that no key is made that then has no place. Never touches one that is there. */
function reserve(path: string): void {
  try {
    writeFileSync(path, '', { mode: 0o600, flag: 'wx' })
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const why = code === 'EEXIST' ? 'there is such a file already' : `it cannot be written: ${fileFault(cause)}`
    throw refusal({ kind: 'conflict', why, on: path, mend: 'name a new file: --out <file>', cause })
  }
}
