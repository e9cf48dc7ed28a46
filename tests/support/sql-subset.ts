/**
 * SQL that one of PGlite, PostgreSQL 16, Aurora DSQL and CockroachDB does not have, or means otherwise, each with what
 * to do instead. Words inside quoted names do not count.
 */
const forbidden: readonly (readonly [RegExp, string])[] = [
  [
    /\b(small|big)?serial\b|\bgenerated\s+(always|by default)\b|\bsequence\b|\bnextval\b/,
    'ids are made in the app, order by the head row',
  ],
  [/\breferences\b|\bforeign\s+key\b|\bexclude\b/, 'no foreign keys: check in the app'],
  [
    /\btrigger\b|\bcreate\s+(or\s+replace\s+)?(function|procedure|extension|materialized|temp|temporary|type|domain)\b/,
    'no code in the database',
  ],
  [/\bpartition\s+by\b|\binherits\b|\btablespace\b/, 'plain tables only'],
  [/\b(listen|notify|unlisten)\b|\bpg_notify\b/, 'hints travel elsewhere'],
  [/\bpg_(try_)?advisory/, 'a silent no-op on CockroachDB: use a lease row'],
  [/\bfor\s+(no\s+key\s+)?(update|share|key\s+share)\b/, 'a guarded update locks'],
  [/\bsavepoint\b|\brelease\b|\brollback\s+to\b/, 'transactions are flat'],
  [/\bset\s+(session|local|transaction)\b|\bisolation\s+level\b/, 'code holds under every isolation level'],
  [/\bjsonb?\b|->>?|\bto_json|\bjson_/, 'JSON is canonical text'],
  [
    /\b(inet|cidr|money|xml|hstore|numeric|decimal|real|double\s+precision|interval)\b/,
    'not a column type of the subset',
  ],
  [/\w\s*\[\s*\]|\barray\s*\[|\bunnest\b/, 'no arrays'],
  [/\busing\s+(gin|gist|brin|hash)\b|\binclude\s*\(|\bconcurrently\b/, 'plain b-tree indexes only'],
  [
    /\bcreate\s+(unique\s+)?index\b.*\b(where|desc|asc|nulls|lower|coalesce)\b/,
    'no partial, expression or descending indexes',
  ],
  [/\bcollate\b/, 'keys are ASCII: sort in the app'],
  [/\btruncate\b|\bcopy\b|\bmerge\s+into\b|\buuidv7\b|\breturning\s+(old|new)\./, 'not on every engine'],
  [/\bxmin\b|\btxid_|\bpg_current_xact|\bpg_snapshot/, 'no transaction ids'],
  [
    /\bnow\s*\(\)|\bcurrent_timestamp\b|\bclock_timestamp\b|\bgen_random_uuid\b|\brandom\s*\(/,
    'time and ids come from the app',
  ],
  [/\badd\s+column\b.*\b(not\s+null|default)\b/, 'add the bare column, fill it, then constrain'],
  [/\b(do|language|plpgsql)\s+\$/, 'no code in the database'],
]

/** Why a statement is outside the subset; undefined where it is inside. */
export function subsetFault(statement: string): string | undefined {
  const plain = statement
    .toLowerCase()
    .replace(/"[^"]*"|'[^']*'/g, 'name')
    .replace(/\s+/g, ' ')
  const found = forbidden.find(([pattern]) => pattern.test(plain))
  return found && `${found[1]}: ${statement.slice(0, 200)}`
}
