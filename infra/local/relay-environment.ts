/**
 * How the allocator of a relay's process is set, wherever one is started; read by glibc at exec, so it cannot be said
 * later. Buffers of 64 kB of which a TLS connection uses a little would come from the common heap, from memory that was
 * touched before; mapped by themselves they cost what is used: a quarter of a relay of 300 streams (178 MB instead of
 * 232). TLS takes and gives back a buffer of 17 kB with each record, which must not be mapped anew each time: below that
 * a relay of 1,000 is 18 MB smaller, and a tenth slower when they all come back. The heap must not grow ahead of what is
 * asked for, or large buffers still find room there: 229 to 242 MB instead of 260 to 271. Source: mallopt(3).
 */
export const relayEnvironment = {
  MALLOC_MMAP_THRESHOLD_: '20480',
  MALLOC_TOP_PAD_: '0',
  MALLOC_ARENA_MAX: '2',
} as const
