const meanings: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full: make room',
  EDQUOT: 'this user’s disk quota is used up: make room',
  EROFS: 'it cannot be written, the file system is read-only',
  EACCES: 'this user may not write it',
  EPERM: 'this user may not write it',
  ENOTDIR: 'a part of this path is a file',
}

/** One sentence for the user: what the file system refused, where, and what mends it; any other error as it stands. */
export function faultOf(error: unknown): string {
  const { code, path, syscall, message } = error as NodeJS.ErrnoException
  // A recursive mkdir on a read-only file system says so.
  const meaning = code === 'ENOENT' && syscall === 'mkdir' ? meanings['EROFS'] : meanings[code ?? '']
  if (meaning === undefined) return message
  return `${path ?? 'the sandbox’s directory'}: ${meaning}, or set ISTHMUS_SANDBOX to another directory`
}
