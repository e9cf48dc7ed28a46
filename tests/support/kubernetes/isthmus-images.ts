import { chmodSync, copyFileSync, cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { iptablesRestore } from '#tests/support/kubernetes/iptables.ts'
import type { Image } from '#tests/support/kubernetes/node/running.ts'
import { envoyPath, programPath, root } from '#tests/support/parts.ts'

const home = '/opt/isthmus'
const node = '/usr/local/bin/node'

/**
 * The images of the relay and of the gateway, in `registry`: the bundled programs of this clone, the Envoy of the
 * tests, and what does iptables' work in them. Only what an image has is there, wherever the clone lies.
 */
export async function isthmusImages(registry: string): Promise<Readonly<Record<string, Image>>> {
  const [relay, envoy, restore] = await Promise.all([programPath('relay'), envoyPath(), iptablesRestore()])
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-image-'))
  process.once('exit', () => rmSync(dir, { recursive: true, force: true }))
  // Its user is nobody.
  chmodSync(dir, 0o755)
  cpSync(dirname(relay), dir, { recursive: true, filter: (path) => !/\.map$|\/compiled$/.test(path) })
  copyFileSync(join(root, 'infra/images/isthmus.cjs'), join(dir, 'isthmus.cjs'))
  const image = {
    command: [node, join(home, 'isthmus.cjs')],
    mounts: [
      { from: dir, to: home },
      { from: process.execPath, to: node },
      { from: envoy, to: '/usr/local/bin/envoy' },
      ...['iptables-restore', 'ip6tables-restore'].map((name) => ({ from: restore, to: `/usr/local/sbin/${name}` })),
    ],
  }
  return { [`${registry}/isthmus-relay`]: image, [`${registry}/isthmus-proxy`]: image }
}
