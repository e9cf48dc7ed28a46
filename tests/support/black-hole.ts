import { startProgram, tailOf } from '#tests/support/fleet-program.ts'
import { builtByGo, findGo } from '#tests/support/go-program.ts'
import { eventually } from '#tests/support/until.ts'

/** Why no packets can be made to vanish here; undefined where they can. */
export function whyNoBlackHole(): string | undefined {
  if (process.env['ISTHMUS_OWN_NETWORK'] === undefined)
    return 'the loopback device is everybody’s: `npm run test:failover` has a network of its own where it runs as root'
  if (process.arch !== 'x64') return `the program that swallows packets is for x64, and this is ${process.arch}`
  return findGo() === undefined
    ? 'Go, which builds the program that swallows packets, is not on this machine'
    : undefined
}

/** Resolves when every packet to or from these IPv4 addresses vanishes, until `heal`. */
export async function blackHole(addresses: readonly string[], log: string): Promise<{ heal(): Promise<void> }> {
  const why = whyNoBlackHole()
  const go = findGo()
  if (why !== undefined || go === undefined) throw new Error(why)
  const program = startProgram({ name: 'black hole', command: [await builtByGo(go, 'blackhole'), ...addresses], log })
  try {
    await eventually(5000, 'packets vanish', () => {
      if (program.pid() === undefined) throw new Error(tailOf(log, 5))
      return tailOf(log, 1) === 'dark'
    })
  } catch (fault) {
    await program.kill()
    throw fault
  }
  return { heal: () => program.kill() }
}
