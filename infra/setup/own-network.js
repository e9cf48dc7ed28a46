import { spawnSync } from 'node:child_process'

const enter = 'ip link set lo up && exec "$@"'

/** As root; else as the root of a user namespace, who may do the same and nothing more. */
const ways = ['-n', '-Urnm']

/**
 * The words to put before a command so that it runs in a network of its own, where only its own loopback device is: what
 * it does to packets is nobody else's. Undefined where this machine or user cannot have one.
 *
 * @param {(program: string, words: string[]) => boolean} [works]
 */
export function ownNetwork(works = isGood) {
  const way = ways
    .map((flags) => [flags, 'sh', '-c', enter, 'sh'])
    .find((words) => works('unshare', [...words, 'true']))
  return way ? ['unshare', ...way] : undefined
}

const isGood = (program, words) => spawnSync(program, words, { stdio: 'ignore' }).status === 0
