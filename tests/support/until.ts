const lookMs = 40

/**
 * Asks until `ask` neither throws nor gives undefined or false, and gives what it gave. Throws after `ms` what was waited
 * for and why it was not so at the last look.
 */
export async function eventually<T>(
  ms: number,
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
): Promise<T> {
  const end = performance.now() + ms
  for (;;) {
    let reason: string
    try {
      const value = await ask()
      if (value !== undefined && value !== false) return value
      reason = 'it is not so'
    } catch (fault) {
      reason = fault instanceof Error ? fault.message : String(fault)
    }
    if (performance.now() > end) throw new Error(`waited ${ms} ms: ${what}: ${reason}`)
    await new Promise((resolve) => setTimeout(resolve, lookMs))
  }
}
