import { expect, test } from 'vitest'
import type { Centre } from '#cli/context.ts'
import { servedConfigs } from '#cli/served.ts'
import { Problem } from '#mesh/model/problem.ts'

test('what a relay serves now is no answer to what stood once', async () => {
  const centre: Centre = { url: 'https://centre.test:7400', relays: { oslo: 'http://127.0.0.1:1' } }
  const away = new Problem('unavailable', 'the centre does not answer: nothing listens there')
  for (const asked of [{ at: '2026-03-01T14:03:00.999Z' }, { revision: '4' }, { history: true }])
    await expect(servedConfigs(centre, { name: 'oslo', ...asked }, away)).rejects.toMatchObject({
      message: `${away.message}, and only the centre keeps history`,
    })
})
