import { SetupError } from './say.js'

/**
 * Throws when this machine cannot run the project, in one line that names what it is and what it would have to be.
 * Python is not asked for here: only fetching Envoy needs it.
 *
 * @param {{ platform: string, arch: string, versions: { node: string } }} machine
 */
export function checkMachine({ platform, arch, versions } = process) {
  const node = versions.node
  if (platform !== 'linux' || !['x64', 'arm64'].includes(arch))
    throw new SetupError(
      `this machine is ${platform} ${arch}; Isthmus runs on Linux x64 or arm64 (its Envoy, PostgreSQL and Node 24 come for those): ` +
        'use such a machine, a virtual machine or a container with glibc.',
    )
  if (Number(node.split('.')[0]) < 20)
    throw new SetupError(
      `Node ${node} is too old to set Isthmus up: install Node 20 or newer (with its npm) and try again.`,
    )
}
