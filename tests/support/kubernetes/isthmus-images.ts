import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Image } from '#tests/support/kubernetes/node/running.ts'
import { envoyPath, programPath } from '#tests/support/parts.ts'

const home = '/opt/isthmus'
const node = '/usr/local/bin/isthmus-node'

/** `isthmus relay …` and `isthmus proxy …`, as the command of the images. */
const launcher = `const [name] = process.argv.splice(2, 1)
if (name !== 'relay' && name !== 'proxy') throw new Error(name + ' is no program of this image')
require('./' + name + '.js')
`

/**
 * The images of the relay and of the gateway, in `registry`: the bundled programs of this clone, and the Envoy of the
 * tests. Only what an image has is there, wherever the clone lies.
 */
export async function isthmusImages(registry: string): Promise<Readonly<Record<string, Image>>> {
  const [relay, , envoy] = await Promise.all([programPath('relay'), programPath('proxy'), envoyPath()])
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-image-'))
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  // Its user is nobody.
  chmodSync(dir, 0o755)
  cpSync(dirname(relay), dir, { recursive: true, filter: (path) => !/\.map$|\/compiled$/.test(path) })
  writeFileSync(join(dir, 'isthmus.cjs'), launcher)
  const image = {
    command: [node, join(home, 'isthmus.cjs')],
    mounts: [
      { from: dir, to: home },
      { from: process.execPath, to: node },
      { from: envoy, to: '/usr/local/bin/envoy' },
    ],
  }
  return { [`${registry}/isthmus-relay`]: image, [`${registry}/isthmus-proxy`]: image }
}
