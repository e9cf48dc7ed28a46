import { spawnSync } from 'node:child_process'

const enter = 'ip link set lo up && exec "$@"'

/**
 * The words to put before a command so that it runs in a network of its own, where only its own loopback device is: what
 * it does to packets is nobody else's. Undefined where this machine or user cannot have one.
 *
 * @param {(program: string, words: string[]) => boolean} [works]
 */
export function ownNetwork(works = isGood) {
  const words = ['-n', 'sh', '-c', enter, 'sh']
  return works('unshare', [...words, 'true']) ? ['unshare', ...words] : undefined
}

const isGood = (program, words) => spawnSync(program, words, { stdio: 'ignore' }).status === 0
