import { z } from '@hono/zod-openapi'

/** The header with which a repeated POST gets the answer of the first instead of a second object. */
export const idempotencyKey = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x21-\x7e]{1,200}$/, 'must be 1 to 200 printable characters')
    .optional()
    .openapi({ description: 'The same key again gives the same answer' }),
})
