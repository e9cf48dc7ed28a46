/**
 * How the allocator of a relay's process is set, wherever one is started; read by glibc at exec, so it cannot be said
 * later. Every TLS connection holds buffers of 16 and 64 kB of which it uses a few: from the common heap that is memory
 * which was touched before, mapped by itself it costs what is used. A relay of 1,000 streams: 241 MB instead of 271, and
 * no more processor time (measured with a threshold of 8 kB against one of 32).
 * Source: mallopt(3).
 */
export const relayEnvironment = { MALLOC_MMAP_THRESHOLD_: '8192', MALLOC_ARENA_MAX: '2' } as const
