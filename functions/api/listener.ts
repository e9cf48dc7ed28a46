import type { RequestListener } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import type { Api } from '#functions/api/door.ts'

/** The API as a listener of Node's HTTP server. */
export function listenerOf(api: Api): RequestListener {
  const answer = getRequestListener((request, env) => api.fetch(request, env), { overrideGlobalObjects: false })
  return (request, response) => void answer(request, response)
}
