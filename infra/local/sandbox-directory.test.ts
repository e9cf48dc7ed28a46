import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { planSandbox } from './plan.ts'
import { emptyDirectory, openDirectory, refuseOtherAddresses, rememberAddresses } from './sandbox-directory.ts'

test('a fleet is started only with the addresses that it was made for; --fresh makes it anew', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sandbox-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const plan = (octet: string) => planSandbox(dir, { ISTHMUS_SANDBOX: dir, ISTHMUS_SANDBOX_OCTET: octet })
  refuseOtherAddresses(plan('21'))
  rememberAddresses(plan('21'))
  openDirectory(dir)
  refuseOtherAddresses(plan('21'))
  expect(() => refuseOtherAddresses(plan('61'))).toThrow(/was made with ISTHMUS_SANDBOX_OCTET=21: start it with that/)
  emptyDirectory(dir)
  refuseOtherAddresses(plan('61'))
})
