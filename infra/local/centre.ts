import { existsSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import type { SandboxPlan } from './plan.ts'

/** The operator's line to the sandbox's centre. */
export type CentreApi = {
  /** The parsed answer; throws with the centre's own words where it refuses, or `away` where it cannot be reached. */
  call(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<{ status: number; body: unknown }>
  close(): void
}

export const caFileOf = (plan: SandboxPlan): string => join(plan.centre.dir, 'control-plane-ca.pem')
export const keyFileOf = (plan: SandboxPlan): string => join(plan.centre.dir, 'admin.key')
export const centreUrl = (plan: SandboxPlan): string => `https://${plan.centre.host}:${plan.centre.port}`

export function centreApi(plan: SandboxPlan): CentreApi {
  const ca = readFileSync(caFileOf(plan), 'utf8')
  const key = existsSync(keyFileOf(plan)) ? readFileSync(keyFileOf(plan), 'utf8').trim() : ''
  const agent = new Agent({ keepAlive: true, ca })
  return {
    close: () => agent.destroy(),
    call: (method, path, body) =>
      new Promise((resolve, reject) => {
        const text = body === undefined ? undefined : JSON.stringify(body)
        const outgoing = request(
          new URL(path, centreUrl(plan)),
          {
            method,
            agent,
            timeout: 5000,
            headers: {
              ...(key ? { authorization: `Bearer ${key}` } : {}),
              ...(text === undefined
                ? {}
                : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
            },
          },
          (answer) => {
            const parts: Buffer[] = []
            answer.on('data', (part: Buffer) => parts.push(part))
            answer.on('error', reject)
            answer.on('end', () => {
              const said = Buffer.concat(parts).toString('utf8')
              const parsed: unknown = said.startsWith('{') || said.startsWith('[') ? JSON.parse(said) : said
              resolve({ status: answer.statusCode ?? 0, body: parsed })
            })
          },
        )
        outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in 5 s')))
        outgoing.on('error', reject)
        outgoing.end(text)
      }),
  }
}

/** A member as the API shows it, or undefined where it is not registered. */
export async function clusterOf(api: CentreApi, name: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const { status, body } = await api.call('GET', `/v1/clusters/${name}`)
  if (status === 404) return undefined
  if (status !== 200) throw new Error(`the centre answered ${status} for cluster ${name}: ${detailOf(body)}`)
  return body as Readonly<Record<string, unknown>>
}

/** SHA-256 of the mesh's active root certificate, hexadecimal; undefined where there is none. */
export async function meshRoot(api: CentreApi): Promise<string | undefined> {
  const { body } = await api.call('GET', '/v1/authorities')
  const { items = [] } = body as { items?: readonly Readonly<Record<string, unknown>>[] }
  const sha256 = items.find(({ kind, state }) => kind === 'root' && state === 'active')?.['sha256']
  return typeof sha256 === 'string' ? sha256 : undefined
}

/** Registers the cluster where it is not yet, and makes a join token for it. */
export async function joinTokenFor(
  api: CentreApi,
  cluster: { readonly name: string; readonly network: string; readonly region: string },
): Promise<string> {
  if (!(await clusterOf(api, cluster.name))) {
    const made = await api.call('POST', '/v1/clusters', cluster)
    if (made.status >= 300) throw new Error(`cluster ${cluster.name} was not registered: ${detailOf(made.body)}`)
  }
  const { status, body } = await api.call('POST', `/v1/clusters/${cluster.name}/join-tokens`, {})
  const token = (body as { token?: unknown }).token
  if (status >= 300 || typeof token !== 'string')
    throw new Error(`no join token for ${cluster.name}: ${detailOf(body)}`)
  return token
}

const detailOf = (body: unknown): string =>
  String((body as { detail?: unknown }).detail ?? JSON.stringify(body)).slice(0, 500)
