import { readFileSync } from 'node:fs'
import type { Run } from '#control/store/engine.ts'
import { sha256Hex } from '#mesh/model/canonical.ts'
import { Problem } from '#mesh/model/problem.ts'

/** One file of `drizzle-kit generate`: its tag and its statements in order. */
export type Migration = { readonly tag: string; readonly steps: readonly string[] }

/** The migrations of this build, oldest first. */
export function readMigrations(dir = new URL('./migrations/', import.meta.url)): Migration[] {
  const journal = JSON.parse(readFileSync(new URL('meta/_journal.json', dir), 'utf8')) as {
    readonly entries: readonly { readonly tag: string }[]
  }
  return journal.entries.map(({ tag }) => ({
    tag,
    steps: readFileSync(new URL(`${tag}.sql`, dir), 'utf8')
      .split('--> statement-breakpoint')
      .map((step) => step.trim())
      .filter((step) => step !== ''),
  }))
}

const tracking =
  'create table if not exists schema_migrations (tag varchar(120) not null, step integer not null, ' +
  'hash varchar(64) not null, primary key (tag, step))'

/**
 * Brings the database to the schema of this build: one statement at a time, each noted once it ran, so a start that was
 * cut short goes on where it stopped and two starters may race. Gives back what ran, as `tag#step`.
 *
 * Throws `conflict` when the database was made by a newer build (naming both versions), or when a file was edited after
 * it ran. Source: Aurora DSQL takes one DDL statement per transaction and has no SERIAL, so drizzle's own `migrate` cannot be used.
 */
export async function migrate(run: Run, migrations: readonly Migration[]): Promise<string[]> {
  await unlessThere(() => run(tracking, [], 'execute'))
  const { rows } = await run('select tag, step, hash from schema_migrations', [], 'execute')
  const done = new Map((rows as { tag: string; step: number; hash: string }[]).map((r) => [`${r.tag}#${r.step}`, r]))
  refuseNewer(
    [...done.values()].map((r) => r.tag),
    migrations,
  )
  const ran: string[] = []
  for (const { tag, steps } of migrations)
    for (const [step, text] of steps.entries()) {
      const hash = sha256Hex(text)
      const seen = done.get(`${tag}#${step}`)
      if (seen && seen.hash !== hash)
        throw new Problem('conflict', `migration ${tag} was edited after step ${step} of it ran: restore the file`)
      if (seen) continue
      await unlessThere(() => run(text, [], 'execute'))
      await run(
        'insert into schema_migrations (tag, step, hash) values ($1, $2, $3) on conflict (tag, step) do nothing',
        [tag, step, hash],
        'execute',
      )
      ran.push(`${tag}#${step}`)
    }
  return ran
}

function refuseNewer(tags: readonly string[], migrations: readonly Migration[]): void {
  const known = new Set(migrations.map((m) => m.tag))
  const unknown = tags
    .filter((tag) => !known.has(tag))
    .toSorted()
    .at(-1)
  if (unknown === undefined) return
  throw new Problem(
    'conflict',
    `the database has schema ${unknown}, and this isthmus knows up to ${migrations.at(-1)?.tag ?? 'none'}: ` +
      'start the newer isthmus that has used it, or restore a backup from before',
  )
}

/** Exists already: another starter was faster, or a crash came between a statement and its note. */
const there = new Set(['42P07', '42710', '42701'])

async function unlessThere(step: () => Promise<unknown>): Promise<void> {
  try {
    await step()
  } catch (error) {
    const { code, message } = error as { readonly code?: string; readonly message?: string }
    // Two "create table" at once: the loser meets the unique index of the catalogue instead of the table.
    const raced = code === '23505' && /pg_(type|class)_\w+_index/.test(message ?? '')
    if (!raced && !there.has(code ?? '')) throw error
  }
}
