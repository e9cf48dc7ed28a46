const meanings: Readonly<Record<string, string>> = {
  ENOENT: 'it is not there',
  EACCES: 'this user may not open it',
  EPERM: 'this user may not open it',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of its path is a file',
  EEXIST: 'a part of its path is a file',
  EROFS: 'its file system is read-only',
  ENOSPC: 'its disk is full',
  EDQUOT: 'this user’s disk quota is used up',
  ELOOP: 'its links lead in a circle',
  EMFILE: 'too many files are open',
  EIO: 'its disk fails',
}

/** What the file system refused (an error of node:fs), in words for people; its own where it says something rare. */
export function fileFault(error: unknown): string {
  const { code, syscall, message } = error as NodeJS.ErrnoException
  // Its parent was there a moment ago: /proc and /sys say this.
  if (syscall === 'mkdir' && code === 'ENOENT') return 'its file system takes no directories'
  return meanings[code ?? ''] ?? message
}
