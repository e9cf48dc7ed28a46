import { join } from 'node:path'
import type { Image } from '#tests/support/kubernetes/node/running.ts'
import { root } from '#tests/support/parts.ts'

const node = process.execPath

/** What tests write as images of their own: `registry.test/<name>`, any tag. */
export const imagesOf = (more: Readonly<Record<string, Image>> = {}): Readonly<Record<string, Image>> => ({
  'registry.test/http-app': { command: [node, join(root, 'tests/support/kubernetes/http-app.ts')] },
  'registry.test/sh': { command: ['sh', '-c'] },
  ...more,
})
