import { existsSync, readFileSync } from 'node:fs'
import { z } from 'zod'
import type { JwksSource } from '#gateway/identity/jwks.ts'
import type { KubeApi } from '#gateway/kube-api.ts'
import { Problem } from '#mesh/model/problem.ts'

const discoverySchema = z.object({ issuer: z.string().min(1).max(2048) })

/** Who signs the tokens of this cluster's pods, as the API server itself says. Throws what it says, and `unavailable`. */
export async function issuerOf(api: KubeApi): Promise<string> {
  const found = discoverySchema.safeParse(await api.call('GET', '/.well-known/openid-configuration'))
  if (found.success) return found.data.issuer
  throw new Problem(
    'unavailable',
    `the API server ${api.server} does not say who issues its tokens: set tokens.issuer in isthmus.yaml`,
  )
}

/**
 * The issuer's keys by way of the API server, which every cluster has, also one whose issuer nobody can reach from here.
 * What it said last is kept in `file`, and counts while it is away.
 */
export const apiServerKeys = (api: KubeApi, file: string, keep: (text: string) => void): JwksSource => ({
  place: `${api.server}/openid/v1/jwks`,
  read: async () => {
    try {
      const text = JSON.stringify(await api.call('GET', '/openid/v1/jwks'))
      if (!existsSync(file) || readFileSync(file, 'utf8') !== text) keep(text)
      return text
    } catch (error) {
      if (error instanceof Problem && error.kind === 'unavailable' && existsSync(file))
        return readFileSync(file, 'utf8')
      throw error
    }
  },
})
