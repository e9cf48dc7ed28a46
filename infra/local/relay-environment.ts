/**
 * How the allocator of a relay's process is set, wherever one is started; read by glibc at exec, so it cannot be said
 * later. Every TLS connection holds buffers of 16 and 64 kB of which it uses a few: from the common heap that is memory
 * which was touched before, mapped by itself it costs what is used. Measured: a threshold of 32 kB took a quarter from a
 * relay of 300 streams (178 MB instead of 232), one of 8 kB another ninth from one of 1,000 (241 instead of 271), with
 * no more processor time. The heap must not grow ahead of what is asked for, or such a buffer still finds room there:
 * 229 to 242 MB instead of 260 to 271. Source: mallopt(3).
 */
export const relayEnvironment = {
  MALLOC_MMAP_THRESHOLD_: '8192',
  MALLOC_TOP_PAD_: '0',
  MALLOC_ARENA_MAX: '2',
} as const
