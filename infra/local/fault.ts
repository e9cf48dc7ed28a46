/** What the file system refused, and what mends it besides another directory. */
const meanings: Readonly<Record<string, readonly [why: string, mend?: string]>> = {
  ENOSPC: ['the disk is full', 'make room'],
  EDQUOT: ['this user’s disk quota is used up', 'make room'],
  EROFS: ['it cannot be written, the file system is read-only'],
  EACCES: ['this user may not write it'],
  EPERM: ['this user may not write it'],
  ENOTDIR: ['a part of this path is a file'],
}

/** mkdir says so of a directory whose parent was there a moment ago, as below /proc. */
const noDirectories: readonly [why: string, mend?: string] = ['its file system takes no directories']

/** One sentence for the user: what the file system refused, where, and what mends it; any other error as it stands. */
export function faultOf(error: unknown): string {
  const { code, path, syscall, message } = error as NodeJS.ErrnoException
  const meaning = code === 'ENOENT' && syscall === 'mkdir' ? noDirectories : meanings[code ?? '']
  if (meaning === undefined) return message
  const [why, mend] = meaning
  const mends = [...(mend === undefined ? [] : [mend]), 'set ISTHMUS_SANDBOX to another directory']
  return `${path ?? 'the sandbox’s directory'}: ${why}: ${mends.join(', or ')}`
}
