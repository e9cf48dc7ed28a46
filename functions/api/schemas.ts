import { z } from '@hono/zod-openapi'

/** RFC 9457. */
const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    instance: z.string(),
    violations: z.array(z.object({ path: z.string(), reason: z.string() })).optional(),
  })
  .openapi('Problem')

export const conditionSchema = z
  .object({
    type: z.string(),
    status: z.enum(['True', 'False', 'Unknown']),
    reason: z.string(),
    message: z.string(),
    /** What it is about, where that is not the whole object. */
    object: z.string().optional(),
  })
  .openapi('Condition')
export type ApiCondition = z.infer<typeof conditionSchema>

/** What every object of the API has. */
export const objectFields = {
  id: z.string(),
  name: z.string(),
  revision: z.number().int().openapi({ description: 'goes up with each change; the ETag is the same number' }),
  createdAt: z.string().openapi({ format: 'date-time' }),
  conditions: z.array(conditionSchema),
} as const

/** Unix ms as RFC 3339. */
export const timeText = (ms: number): string => new Date(ms).toISOString()

export const listOf = <T extends z.ZodType>(item: T, name: string) =>
  z.object({ items: z.array(item), nextCursor: z.string().optional() }).openapi(`${name}List`)

const problem = { 'application/problem+json': { schema: problemSchema } }
/** Every route can end so; which problem it is stands in the body. */
export const problems = {
  400: { description: 'The request is not valid: every violation', content: problem },
  401: { description: 'The credential is missing, wrong, expired or withdrawn', content: problem },
  403: { description: 'The caller may not do this', content: problem },
  404: { description: 'There is no such object', content: problem },
  409: { description: 'The state of the object forbids this', content: problem },
  412: { description: 'The object has moved on: read it again', content: problem },
  413: { description: 'The request is too large', content: problem },
  429: { description: 'Too many requests: see Retry-After', content: problem },
  503: { description: 'Not available now', content: problem },
} as const

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { 'application/json': { schema } },
})

export const body = <T extends z.ZodType>(schema: T) => ({
  required: true,
  content: { 'application/json': { schema } },
})

export const operatorSecurity = [{ operatorKey: [] }]
export const clusterSecurity = [{ clusterToken: [] }]

/** The part of some calls that each cluster gets; 1 = all of them, empty = nobody answers. */
export const sharesSchema = z.array(z.object({ cluster: z.string(), share: z.number() }))

/** Names a schema of `mesh/wire` in the document. Those are made before this library adds its own method to schemas. */
export const wire = <T extends z.ZodType>(schema: T, id: string): T => schema.meta({ id })
