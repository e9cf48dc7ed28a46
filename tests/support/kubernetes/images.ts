import { realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Image } from '#tests/support/kubernetes/node/running.ts'
import { envoyPath, programPath, root } from '#tests/support/parts.ts'

export type Images = Readonly<Record<string, Image>>

const registry = 'registry.test'
const node = { from: realpathSync(process.execPath), to: '/usr/local/bin/node' }
const httpApp = { from: join(root, 'tests/support/kubernetes/http-app.ts'), to: '/app/http-app.ts' }

/** What tests write as images of their own: `registry.test/<name>`, any tag. */
export const imagesOf = (more: Images = {}): Images => ({
  [`${registry}/http-app`]: { command: [node.to, httpApp.to], mounts: [node, httpApp] },
  [`${registry}/sh`]: { command: ['sh', '-c'] },
  ...more,
})

/** The relay and the proxy with its Envoy, as `--registry registry.test` names them. */
export async function ownImages(): Promise<Images> {
  const [relay, proxy, envoy] = await Promise.all([programPath('relay'), programPath('proxy'), envoyPath()])
  /** The first word is the command's own name for the program, which the bundle is. */
  const image = (program: string, more: NonNullable<Image['mounts']> = []): Image => ({
    command: ['sh', '-c', `shift; exec ${node.to} /opt/isthmus/${program}.js "$@"`, 'sh'],
    mounts: [node, { from: dirname(relay), to: '/opt/isthmus' }, ...more],
    user: 65_532,
  })
  if (dirname(relay) !== dirname(proxy)) throw new Error('the bundles lie in two folders')
  return {
    [`${registry}/isthmus-relay`]: image('relay'),
    [`${registry}/isthmus-proxy`]: image('proxy', [{ from: envoy, to: '/usr/local/bin/envoy' }]),
  }
}
