import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { parseMeshName } from '#mesh/model/id.ts'
import { rootNames } from '#mesh/trust/names.ts'
import { make } from '#tests/support/authorities.ts'
import { caFileOf } from './centre.ts'
import { refuseEarlierClock } from './check-clock.ts'
import { planSandbox } from './plan.ts'

const dir = mkdtempSync(join(tmpdir(), 'isthmus-clock-'))
afterAll(() => rmSync(dir, { recursive: true, force: true }))

test('a fleet whose certificates begin later than now is named with both times; one of the past starts', async () => {
  const plan = planSandbox('/', { ISTHMUS_SANDBOX: dir })
  refuseEarlierClock(plan, Date.now())
  mkdirSync(dirname(caFileOf(plan)), { recursive: true })
  const names = rootNames(parseMeshName('mesh1'), 1)
  const { pem } = await make({ profile: 'root', names, now: new Date(Date.now() + 300_000) })
  writeFileSync(caFileOf(plan), pem)
  refuseEarlierClock(plan, Date.now() + 1000)
  expect(() => refuseEarlierClock(plan, Date.now() - 600_000)).toThrow(
    /begin at \d.*Z, and the clock of this machine says \d.*Z: set it right \(NTP\), wait until then, or .*--fresh$/,
  )
  writeFileSync(caFileOf(plan), 'no certificate')
  refuseEarlierClock(plan, 0)
})
