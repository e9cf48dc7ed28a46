import { z } from 'zod'
import { type Explanation, stepNames } from '#mesh/model/explanation.ts'
import { parseClusterName, serviceKey } from '#mesh/model/id.ts'

const text = z.string().max(2000)
const stepSchema = z.object({
  step: z.enum(stepNames),
  ok: z.union([z.boolean(), z.literal('unknown')]),
  saw: text,
  fix: text.exactOptional(),
  at: text.exactOptional(),
})

/** The body of an answer of `POST /v1/explanations`, and of a relay's `/explain`. */
export const explanationSchema = z.object({
  by: z.enum(['centre', 'relay']),
  caller: z.object({ cluster: z.string(), namespace: z.string(), pod: z.string() }),
  host: z.string(),
  port: z.number().int().exactOptional(),
  service: z.string().exactOptional(),
  revision: z.number().int().exactOptional(),
  steps: z.array(stepSchema),
  via: z.array(z.string()),
  lands: z.array(z.object({ cluster: z.string(), share: z.number() })),
  answers: z.object({ calls: z.number(), errors: z.number(), forMs: z.number() }).exactOptional(),
})

/** Throws what is not as it should be; what is said beyond that is left out. */
export function parseExplanation(value: unknown): Explanation {
  const { caller, service, via, lands, ...said } = explanationSchema.parse(value)
  const [, namespace, name] = /^([^/]*)\/([^/]*)$/.exec(service ?? '') ?? []
  return {
    ...said,
    caller: { ...caller, cluster: parseClusterName(caller.cluster) },
    via: via.map(parseClusterName),
    lands: lands.map(({ cluster, share }) => ({ cluster: parseClusterName(cluster), share })),
    ...(namespace === undefined || name === undefined ? {} : { service: serviceKey(namespace, name) }),
  }
}
