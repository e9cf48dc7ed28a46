import { isIP } from 'node:net'
import { z } from 'zod'
import { loadKept, saveKept } from '#gateway/kept-file.ts'
import type { Answers } from '#gateway/resolve/name-resolver.ts'
import { answerFault } from '#mesh/model/gateway-address.ts'

/** What a relay that starts again must know before it asks: where names led, and who held what two clusters led to. */
export type KeptAnswers = { readonly answers: Answers; readonly holders: ReadonlyMap<string, string> }

const good = (address: string): boolean => isIP(address) !== 0 && answerFault(address, true) === undefined
const keptSchema = z.object({
  version: z.literal(1),
  answers: z.array(z.tuple([z.string(), z.array(z.string()).transform((all) => all.filter(good))])),
  holders: z.array(z.tuple([z.string(), z.string()])),
})

/** As last saved; nothing where there is none, and the DNS is asked. */
export function loadAnswers(path: string, warn: (text: string) => void): KeptAnswers {
  const kept = loadKept(path, (body) => keptSchema.parse(body), warn)
  return { answers: new Map(kept?.answers), holders: new Map(kept?.holders) }
}

export function saveAnswers(path: string, kept: KeptAnswers, warn: (text: string) => void): void {
  saveKept(path, { version: 1, answers: [...kept.answers], holders: [...kept.holders] }, warn)
}
