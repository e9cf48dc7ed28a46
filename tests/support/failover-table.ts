/** What one scenario did to those who call. Times in milliseconds. */
export type Row = {
  readonly scenario: string
  readonly gets: number
  readonly failed: number
  readonly posts: number
  readonly postsFailed: number
  readonly postsInFlight: number
  readonly doubled: number
  readonly slowestMs: number
  /** From the fault until the last GET had ended that took longer than `slowMs`. */
  readonly steadyMs: number
  /** From the end of the fault until the first tier answered everything again. */
  readonly backMs: number
  readonly note: string
}

export const slowMs = 500

const heads = [
  'scenario',
  'GETs',
  'failed',
  'POSTs',
  'failed',
  'in flight',
  'doubled',
  'slowest',
  'steady after',
  'back after',
  '',
]

/** As Markdown. */
export function tableOf(rows: readonly Row[]): string {
  const lines = rows.map((row) => [
    ...[row.scenario, row.gets, row.failed, row.posts, row.postsFailed, row.postsInFlight, row.doubled],
    ...[row.slowestMs, row.steadyMs, row.backMs].map((ms) => `${(ms / 1000).toFixed(1)} s`),
    row.note,
  ])
  return [heads, heads.map(() => '---'), ...lines].map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
