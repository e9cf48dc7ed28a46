import { z } from '@hono/zod-openapi'
import type { ConfigChange } from '#control/config-changes.ts'

/** What a change with `dryRun` would do, which is not done. */
export const rehearsalSchema = z
  .object({
    dryRun: z.literal(true),
    changes: z.array(
      z.object({
        cluster: z.string(),
        added: z.array(z.string()),
        removed: z.array(z.string()),
        changed: z.array(z.string()),
      }),
    ),
  })
  .openapi('ConfigChanges')

export const rehearsal = (changes: readonly ConfigChange[]): z.infer<typeof rehearsalSchema> => ({
  dryRun: true,
  changes: changes.map(({ cluster, added, removed, changed }) => ({
    ...{ cluster, added: [...added], removed: [...removed], changed: [...changed] },
  })),
})

export const dryRunSchema = z.enum(['true', 'false']).optional()
