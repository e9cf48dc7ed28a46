import { expect, test } from 'vitest'
import { checkMachine } from '#infra/setup/machine.js'

const machine = (platform: NodeJS.Platform, arch: NodeJS.Architecture, node: string) => ({
  platform,
  arch,
  versions: { ...process.versions, node },
})

test('Linux on x64 or arm64 with Node 20 is enough', () => {
  checkMachine(machine('linux', 'x64', '20.0.0'))
  checkMachine(machine('linux', 'arm64', '24.21.0'))
})

test.each([
  [
    'another system',
    machine('darwin', 'arm64', '24.0.0'),
    /this machine is darwin arm64; Isthmus runs on Linux x64 or arm64/,
  ],
  ['another processor', machine('linux', 's390x', '24.0.0'), /this machine is linux s390x/],
  ['an old Node', machine('linux', 'x64', '18.20.0'), /Node 18\.20\.0 is too old.*install Node 20/],
])('%s is refused in one line that says what would do', (_, seen, message) => {
  expect(() => checkMachine(seen)).toThrow(message)
})
