import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { directoryWatch } from '#gateway/watch/directory-watch.ts'
import type { ClusterWatch } from '#gateway/watch/watch.ts'
import { parseNetworkName } from '#mesh/model/id.ts'
import type { OwnCluster } from '#mesh/model/view.ts'

const home = { network: parseNetworkName('n1'), region: 'r1' }
let dir: string
let running: ClusterWatch[]
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'isthmus-watch-'))
  running = []
})
afterEach(async () => {
  await Promise.all(running.map((w) => w.stop()))
  rmSync(dir, { recursive: true, force: true })
})

const pod = (name: string, account = 'sa'): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {serviceAccountName: ${account}}\n`
const path = (name: string): string => join(dir, name)
function write(name: string, ...documents: string[]): void {
  mkdirSync(dirname(path(name)), { recursive: true })
  writeFileSync(path(name), documents.join('---\n'))
}
function replace(name: string, ...documents: string[]): void {
  write(`${dirname(name)}/.tmp`, ...documents)
  renameSync(path(`${dirname(name)}/.tmp`), path(name))
}

async function started(more: { settleMs?: number; rescanMs?: number; dir?: string } = {}): Promise<ClusterWatch> {
  const watch = directoryWatch({ dir, home, settleMs: 30, rescanMs: 200, ...more })
  running.push(watch)
  await watch.start()
  return watch
}

/** Waits for a state, not for a time. */
async function until(watch: ClusterWatch, isSo: (w: ClusterWatch) => boolean): Promise<void> {
  if (isSo(watch)) return
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`never so: ${show(watch)} ${JSON.stringify(watch.rejected())}`)),
      8000,
    )
    const end = watch.onChange(() => {
      if (!isSo(watch)) return
      clearTimeout(timer)
      end()
      resolve()
    })
  })
}
const show = (watch: ClusterWatch): string =>
  [...watch.current().pods.values()].map((p) => `${p.name}:${p.serviceAccount}`).join(' ')
const shows = (text: string) => (watch: ClusterWatch) => show(watch) === text
const hears = (reason: string) => (watch: ClusterWatch) => watch.rejected().some((r) => r.reason.includes(reason))

describe('changes', () => {
  test('the first read is complete: what is there when start resolves is all there is', async () => {
    for (let i = 0; i < 50; i++) write(`d${i % 3}/p${i}.yaml`, pod(`p${i}`))
    write('notes.txt', 'nothing')
    expect((await started()).current().pods.size).toBe(50)
  })

  test('edits in place, by rename, new files, new directories, removals', async () => {
    write('a.yaml', pod('a'))
    const watch = await started({ rescanMs: 60_000 })
    write('a.yaml', pod('a', 'second'))
    await until(watch, shows('a:second'))
    replace('a.yaml', pod('a', 'third'))
    await until(watch, shows('a:third'))
    write('b.yml', pod('b'))
    await until(watch, shows('a:third b:sa'))
    write('deep/er/c.yaml', pod('c'))
    await until(watch, shows('a:third b:sa c:sa'))
    write('deep/er/c.yaml', pod('c', 'second'))
    await until(watch, shows('a:third b:sa c:second'))
    renameSync(path('deep'), path('moved'))
    write('moved/er/c.yaml', pod('c', 'third'))
    await until(watch, shows('a:third b:sa c:third'))
    rmSync(path('a.yaml'))
    await until(watch, shows('b:sa c:third'))
    rmSync(path('moved'), { recursive: true })
    await until(watch, shows('b:sa'))
    expect(watch.rejected()).toEqual([])
  })

  test('a rename is believed at once, however long a write in place has to rest', async () => {
    write('a.yaml', pod('a'))
    const watch = await started({ settleMs: 30 })
    const slow = await started({ settleMs: 8000, rescanMs: 60_000 })
    const from = performance.now()
    replace('a.yaml', pod('a', 'second'))
    await Promise.all([until(watch, shows('a:second')), until(slow, shows('a:second'))])
    expect(performance.now() - from).toBeLessThan(6000)
  })

  test('an object that moves to a file of another name is never away', async () => {
    write('a.yaml', pod('a'), pod('x'))
    const watch = await started()
    const seen: string[] = []
    watch.onChange(() => seen.push(show(watch)))
    renameSync(path('a.yaml'), path('b.yaml'))
    write('c.yaml', pod('last'))
    await until(watch, shows('a:sa last:sa x:sa'))
    for (const state of seen) expect(state).toContain('a:sa')
  })

  test('a file that is being written is not believed before it rests', async () => {
    write('a.yaml', pod('a'), pod('b'), pod('c'))
    const watch = await started({ settleMs: 150 })
    const seen: string[] = []
    watch.onChange(() => seen.push(show(watch)))
    const file = openSync(path('a.yaml'), 'w') // empty from here on
    const text = [pod('a', 'new'), pod('b', 'new'), pod('c', 'new')].join('---\n')
    for (let at = 0; at < text.length; at += 40) {
      writeSync(file, text.slice(at, at + 40))
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await until(watch, shows('a:new b:new c:new'))
    expect(seen).toEqual(['a:new b:new c:new'])
  })

  test('a signal that is lost costs one rescan: nothing depends on signals', async () => {
    write('a.yaml', pod('a'))
    mkdirSync(path('linked-from'))
    write('linked-from/.real', pod('b'))
    symlinkSync(path('linked-from/.real'), path('b.yaml'))
    mkdirSync(path('linked-from/outside'))
    const outside = mkdtempSync(join(tmpdir(), 'isthmus-outside-'))
    try {
      writeFileSync(join(outside, 'c'), pod('c'))
      symlinkSync(join(outside, 'c'), path('c.yaml'))
      const watch = await started()
      writeFileSync(join(outside, 'c'), pod('c', 'unheard')) // no watched directory hears of this
      await until(watch, shows('a:sa b:sa c:unheard'))
    } finally {
      rmSync(outside, { recursive: true })
    }
  })

  test('nothing is told where nothing changed, and nothing after stop', async () => {
    write('a.yaml', pod('a'))
    const watch = await started({ rescanMs: 20 })
    let told = 0
    watch.onChange(() => told++)
    const before = watch.current()
    write('a.yaml', pod('a'))
    write('b.yaml', '# nothing\n')
    write('c.yaml', pod('c'))
    await until(watch, shows('a:sa c:sa'))
    expect(told).toBe(1)
    expect(watch.current().pods.get('default/a')).toBe(before.pods.get('default/a'))
    await watch.stop()
    write('d.yaml', pod('d'))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(told).toBe(1)
  })
})

describe('unknown is not empty', () => {
  test('a file that becomes malformed keeps its objects and says why, until it is mended or removed', async () => {
    write('a.yaml', pod('a'), pod('b'))
    write('c.yaml', pod('c'))
    const watch = await started()
    write('a.yaml', 'kind: [\n')
    await until(watch, hears('malformed'))
    expect(show(watch)).toBe('a:sa b:sa c:sa')
    expect(watch.rejected().map((r) => `${r.at} ${r.object}`)).toEqual([
      'a.yaml:1 Pod default/a',
      'a.yaml:1 document 1',
      'a.yaml:6 Pod default/b',
    ])
    write('a.yaml', pod('b', 'mended'))
    await until(watch, shows('b:mended c:sa'))
    expect(watch.rejected()).toEqual([])
    write('a.yaml', 'kind: [\n')
    await until(watch, hears('malformed'))
    rmSync(path('a.yaml'))
    await until(watch, shows('c:sa'))
    expect(watch.rejected()).toEqual([])
  })

  test('a directory that vanishes: everything stays, it is said, and it goes on when the directory is back', async () => {
    write('a.yaml', pod('a'))
    write('deep/b.yaml', pod('b'))
    const watch = await started()
    renameSync(dir, `${dir}-away`)
    await until(watch, hears('cannot be listed (ENOENT): what was known of it stays'))
    expect(show(watch)).toBe('a:sa b:sa')
    expect(watch.rejected()[0]).toMatchObject({ at: '.', object: 'directory' })
    mkdirSync(dir)
    write('a.yaml', pod('a', 'back'))
    await until(watch, shows('a:back'))
    expect(watch.rejected()).toEqual([])
    write('a.yaml', pod('a', 'again'))
    await until(watch, shows('a:again'))
    rmSync(`${dir}-away`, { recursive: true })
  })

  test('a file that cannot be looked at keeps its objects', async () => {
    write('a.yaml', pod('a'))
    const watch = await started()
    rmSync(path('a.yaml'))
    symlinkSync('a.yaml', path('a.yaml')) // a loop: ELOOP
    await until(watch, hears('cannot be looked at (ELOOP)'))
    expect(show(watch)).toBe('a:sa')
  })

  test('no directory, no start: named, with the way out', async () => {
    const watch = directoryWatch({ dir: join(dir, 'nowhere'), home })
    await expect(watch.start()).rejects.toMatchObject({
      kind: 'not-found',
      message: expect.stringMatching(/nowhere" cannot be listed \(ENOENT\): create it, or correct the path/),
    })
  })

  test('an empty directory is a cluster without objects', async () => {
    expect((await started()).current().pods.size).toBe(0)
  })
})

describe('bad files', () => {
  test.each<[string, string | Buffer, string]>([
    ['UTF-16', Buffer.from(`\ufeff${pod('x')}`, 'utf16le'), 'is UTF-16'],
    ['NUL bytes', Buffer.from(`${pod('x')}\0`), 'NUL bytes'],
    ['Latin 1', Buffer.from(`# caf\u00e9\n${pod('x')}`, 'latin1'), 'is not UTF-8'],
    ['too large', `# ${'x'.repeat(1024 * 1024)}\n${pod('x')}`, 'larger than 1048576 bytes'],
  ])('%s is set aside with the reason, the rest goes on', async (_name, content, reason) => {
    write('a.yaml', pod('a'))
    writeFileSync(path('b.yaml'), content)
    const watch = await started()
    expect(show(watch)).toBe('a:sa')
    expect(watch.rejected()).toEqual([{ at: 'b.yaml', object: 'file', reason: expect.stringContaining(reason) }])
  })

  test('a UTF-8 byte order mark is no fault', async () => {
    write('a.yaml', `\ufeff${pod('a')}`)
    expect(show(await started())).toBe('a:sa')
  })

  test('pipes, dot files and other names are not read', async () => {
    execFileSync('mkfifo', [path('pipe.yaml')])
    write('.hidden.yaml', pod('x'))
    write('.git/x.yaml', pod('x'))
    write('x.json', '{}')
    write('a.yaml', pod('a'))
    const watch = await started()
    expect(show(watch)).toBe('a:sa')
    expect(watch.rejected()).toEqual([])
  })

  test('a tree without end is bounded', async () => {
    write('a.yaml', pod('a'))
    write(`${'d/'.repeat(12)}x.yaml`, pod('x'))
    const watch = await started()
    expect(show(watch)).toBe('a:sa')
    expect(watch.rejected()[0]?.reason).toContain('nested more than 8')
  })
})

describe('whatever is edited', () => {
  type Edit =
    | { readonly kind: 'write' | 'replace'; readonly file: string; readonly documents: readonly string[] }
    | { readonly kind: 'remove' | 'break'; readonly file: string }
    | { readonly kind: 'move'; readonly file: string; readonly to: string }
    | { readonly kind: 'rest' }
  const file = fc.constantFrom('a.yaml', 'b.yaml', 'd/a.yaml', 'd/e/c.yaml')
  const document = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(fc.constantFrom('x', 'y', 'z'), fc.constantFrom('s', 't')).map(([n, s]) => pod(n, s)),
    },
    { weight: 1, arbitrary: fc.constant('kind: Nothing\napiVersion: v1\nmetadata: {name: n}\n') },
  )
  const edit: fc.Arbitrary<Edit> = fc.oneof(
    fc.record({
      kind: fc.constantFrom('write' as const, 'replace' as const),
      file,
      documents: fc.array(document, { maxLength: 3 }),
    }),
    fc.record({ kind: fc.constantFrom('remove' as const, 'break' as const), file }),
    fc.record({ kind: fc.constant('move' as const), file, to: file }),
    fc.constant({ kind: 'rest' as const }),
  )

  async function apply(edit: Edit): Promise<void> {
    if (edit.kind === 'rest') return new Promise((resolve) => setTimeout(resolve, 15))
    if ('documents' in edit) return (edit.kind === 'write' ? write : replace)(edit.file, ...edit.documents)
    if (edit.kind === 'break') return write(edit.file, 'kind: [\n')
    if (edit.kind === 'remove') return rmSync(path(edit.file), { force: true })
    if (edit.kind !== 'move') return
    try {
      mkdirSync(dirname(path(edit.to)), { recursive: true })
      renameSync(path(edit.file), path(edit.to))
    } catch {
      // nothing there to move
    }
  }
  const plain = (own: OwnCluster): unknown => ({ ...own, pods: [...own.pods], services: [...own.services] })

  test('the end is what a fresh read gives, once nothing is malformed any more', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 12 }), async (edits) => {
        for (const name of readdirSync(dir)) rmSync(path(name), { recursive: true })
        write('first.yaml', pod('x'))
        const watch = await started({ settleMs: 10, rescanMs: 40 })
        for (const one of edits) await apply(one)
        for (const name of ['a.yaml', 'b.yaml', 'd/a.yaml', 'd/e/c.yaml'])
          if (edits.some((e) => e.kind === 'break')) write(name, pod(`mended-${name.replaceAll(/\W/g, '-')}`))
        const fresh = await started({ settleMs: 10 })
        await until(
          watch,
          (w) =>
            JSON.stringify([plain(w.current()), w.rejected()]) ===
            JSON.stringify([plain(fresh.current()), fresh.rejected()]),
        )
        await Promise.all([watch.stop(), fresh.stop()])
      }),
      { numRuns: 40 },
    )
  })
})
