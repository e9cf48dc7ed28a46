import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { after } from '#gateway/watch/after.ts'

test('at once is at once where nothing else wakes the event loop, also when it is asked for by a timer', () => {
  // In a process of its own: here there is always something that wakes it.
  const program = `
    import { after } from '#gateway/watch/after.ts'
    const other = setTimeout(() => console.log('something else'), 1000)
    setTimeout(() => after(0, () => { console.log('work'); clearTimeout(other) }), 20)`
  const said = execFileSync(process.execPath, ['--input-type=module', '--eval', program], { encoding: 'utf8' })
  expect(said).toBe('work\n')
})

test('what was called off does not happen', async () => {
  const events: string[] = []
  after(0, () => events.push('at once'))()
  after(5, () => events.push('later'))()
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(events).toEqual([])
})
