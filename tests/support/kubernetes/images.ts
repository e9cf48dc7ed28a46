import { realpathSync } from 'node:fs'
import { join } from 'node:path'
import { isthmusImages } from '#tests/support/kubernetes/isthmus-images.ts'
import type { Image } from '#tests/support/kubernetes/node/running.ts'
import { root } from '#tests/support/parts.ts'

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

/** The relay, and the proxy with its Envoy, as `--registry registry.test` names them. */
export const ownImages = (): Promise<Images> => isthmusImages(registry)
