import { describe, expect, test } from 'vitest'
import { type FileState, mergeFiles, nextFileState } from '#gateway/watch/file-state.ts'
import { parseFile, unclearFile } from '#gateway/watch/parse-file.ts'

const pod = (name: string, account = 'sa'): string =>
  `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: {serviceAccountName: ${account}}\n`
const badPod = (name: string): string => `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec: 7\n`
const file = (...documents: string[]): string => documents.join('---\n')
const read = (before: FileState | undefined, ...documents: string[]): FileState =>
  nextFileState(before, parseFile('f.yaml', file(...documents)))
const names = (objects: readonly { id: string }[]): string[] => objects.map((o) => o.id.replace('Pod default/', ''))

describe('a file read again', () => {
  const good = read(undefined, pod('a'), pod('b'))

  test('an object it no longer holds is gone', () => {
    expect(read(good, pod('a'))).toMatchObject({ stale: [], rejected: [] })
    expect(names(read(good, pod('a')).live)).toEqual(['a'])
    expect(read(good, '')).toEqual({ live: [], stale: [], rejected: [] })
  })

  test('an object it now says wrongly stays as it was, and that is said', () => {
    const next = read(good, pod('a'), badPod('b'))
    expect(names(next.live)).toEqual(['a'])
    expect(names(next.stale)).toEqual(['b'])
    expect(next.rejected).toEqual([
      expect.objectContaining({ object: 'Pod default/b', reason: expect.stringContaining('it stays as it was') }),
    ])
  })

  test('an object that was never good is only rejected', () => {
    const next = read(good, pod('a'), pod('b'), badPod('c'))
    expect(next.stale).toEqual([])
    expect(next.rejected[0]?.reason).not.toContain('stays')
  })

  test('a part that cannot be read keeps what it may hold, through any number of reads', () => {
    const next = read(read(good, pod('a'), 'kind: [\n'), pod('a'), 'kind: {\n')
    expect(names(next.stale)).toEqual(['b'])
    expect(next.rejected.map((r) => r.object)).toEqual(['document 2', 'Pod default/b'])
    expect(names(read(next, pod('a')).stale)).toEqual([])
    expect(read(next, pod('a'), pod('b'))).toEqual(good)
  })

  test('a file that cannot be read at all keeps everything', () => {
    const next = nextFileState(good, unclearFile('f.yaml', 'is UTF-16'))
    expect(names(next.stale)).toEqual(['a', 'b'])
    expect(next.live).toEqual([])
  })

  test('objects that did not change keep their identity, and so does a file', () => {
    expect(read(good, pod('a'), pod('b'))).toBe(good)
    const next = read(good, pod('a'), pod('b', 'other'))
    expect(next.live[0]).toBe(good.live[0])
    expect(next.live[1]).not.toBe(good.live[1])
  })
})

describe('files together', () => {
  const at = (path: string, ...documents: string[]): [string, FileState] => [
    path,
    nextFileState(undefined, parseFile(path, file(...documents))),
  ]
  const chosen = (files: [string, FileState][], max?: number): string[] =>
    mergeFiles(new Map(files), undefined, max).objects.map((o) => `${o.id.replace('Pod default/', '')} ${o.at}`)

  test('of two objects of one name the first file wins, whatever was read first', () => {
    const files = [at('b.yaml', pod('x')), at('a.yaml', pod('y'), pod('x'))]
    for (const order of [files, files.toReversed()]) {
      expect(chosen(order)).toEqual(['x a.yaml:6', 'y a.yaml:1'])
      expect(mergeFiles(new Map(order)).rejected).toEqual([
        { at: 'b.yaml:1', object: 'Pod default/x', reason: expect.stringContaining('already in a.yaml:6') },
      ])
    }
  })

  test('in one file the first wins', () => {
    expect(chosen([at('a.yaml', pod('x'), pod('x', 'other'))])).toEqual(['x a.yaml:1'])
  })

  test('a stale object never stands against a live one', () => {
    const [, before] = at('a.yaml', pod('x'))
    const stale = nextFileState(before, unclearFile('a.yaml', 'broken'))
    expect(chosen([['a.yaml', stale]])).toEqual(['x a.yaml:1'])
    expect(chosen([['a.yaml', stale], at('b.yaml', pod('x'))])).toEqual(['x b.yaml:1'])
  })

  test('past the bound objects are rejected by name', () => {
    const files = [at('a.yaml', pod('x'), pod('y'), pod('z'))]
    expect(chosen(files, 2)).toEqual(['x a.yaml:1', 'y a.yaml:6'])
    expect(mergeFiles(new Map(files), undefined, 2).rejected).toEqual([
      { at: 'a.yaml:11', object: 'Pod default/z', reason: 'is past the bound of 2 objects' },
    ])
  })

  const both = [at('a.yaml', pod('x')), at('b.yaml', pod('y'))] as const
  const again = ([path, before]: readonly [string, FileState], ...documents: string[]): [string, FileState] => [
    path,
    nextFileState(before, parseFile(path, file(...documents))),
  ]
  test.each<readonly [string, [string, FileState][], [string, FileState][]]>([
    ['another account', [...both], [again(both[0], pod('x', 'other')), both[1]]],
    ['an object that says something wrong now', [...both], [again(both[0], badPod('x')), both[1]]],
    ['a bad object beside the same good ones', [...both], [again(both[0], pod('x', 'other'), badPod('z')), both[1]]],
    ['the loser of two moves', [both[0], at('b.yaml', pod('x'))], [both[0], at('b.yaml', pod('x', 'other'))]],
    [
      'the winner of two moves',
      [both[0], at('b.yaml', pod('x'))],
      [at('a.yaml', `# moved\n${pod('x')}`), at('b.yaml', pod('x'))],
    ],
  ])('what was merged before changes nothing: %s', (_, before, next) => {
    const { objects, rejected } = mergeFiles(new Map(next), mergeFiles(new Map(before)))
    const anew = mergeFiles(new Map(next))
    expect({ objects, rejected }).toEqual({ objects: anew.objects, rejected: anew.rejected })
  })
})
