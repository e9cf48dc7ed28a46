import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { expect } from 'vitest'
import { Problem } from '#mesh/model/problem.ts'

export type Fuzz<Spec> = {
  /** The folder of its inputs in `corpus/`. */
  readonly kind: string
  readonly specs: fc.Arbitrary<Spec>
  /** The input that a spec stands for, as text. */
  readonly build: (spec: Spec) => string | Promise<string>
  /** For each input why it is a find, or undefined. A throw of anything but a Problem `invalid` is a find as well. */
  readonly judge: (inputs: readonly string[]) => Promise<readonly (string | undefined)[]>
  /** Inputs of one round. */
  readonly size?: number
}

/** For a test: a machine may be busy with other things for long. */
export const timeout = 300_000 + 10_000 * Number(process.env['ISTHMUS_FUZZ_SECONDS'] ?? 1)

/** One second in `npm test`; `npm run test:fuzz` gives a minute. */
const seconds = Number(process.env['ISTHMUS_FUZZ_SECONDS'] ?? 1)
const seed = Number(process.env['ISTHMUS_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/**
 * Judges the corpus, then inputs by chance until the time is over. Fails with every find; each is kept in the corpus under a
 * name made of its content, so that it is judged at every run from then on. The seed is said: with the same the specs are
 * the same (`ISTHMUS_SEED`), though keys are new.
 */
export async function fuzz<Spec>({ kind, specs, build, judge, size = 200 }: Fuzz<Spec>): Promise<void> {
  const finds: string[] = []
  const look = async (inputs: readonly string[]): Promise<void> => {
    const faults = await judge(inputs)
    for (const [i, fault] of faults.entries())
      if (fault !== undefined) finds.push(`${keep(kind, inputs[i] ?? '')}: ${fault}`)
  }
  const kept = corpusOf(kind)
  expect(kept.length, `corpus/${kind} is not empty`).toBeGreaterThan(0)
  await look(kept)
  const end = performance.now() + seconds * 1000
  let judged = kept.length
  for (let round = 0; performance.now() < end && finds.length === 0; round++) {
    const inputs: string[] = []
    for (const spec of fc.sample(specs, { seed: seed + round, numRuns: size })) inputs.push(await build(spec))
    await look(inputs)
    judged += inputs.length
  }
  if (seconds > 1 || finds.length > 0) console.info(`${kind}: ${judged} inputs, seed ${seed}, ${finds.length} finds`)
  expect(finds).toEqual([])
}

const corpus = fileURLToPath(new URL('corpus', import.meta.url))

const corpusOf = (kind: string): string[] =>
  existsSync(`${corpus}/${kind}`)
    ? readdirSync(`${corpus}/${kind}`)
        .toSorted()
        .map((name) => readFileSync(`${corpus}/${kind}/${name}`, 'utf8'))
    : []

function keep(kind: string, input: string): string {
  const name = `${createHash('sha256').update(input).digest('hex').slice(0, 12)}.txt`
  mkdirSync(`${corpus}/${kind}`, { recursive: true })
  writeFileSync(`${corpus}/${kind}/${name}`, input)
  return `corpus/${kind}/${name}`
}

/** What `read` gives, `refused`, or the crash: what it threw that was no Problem of the caller's. */
export function outcome<T>(read: () => T): { readonly value: T } | 'refused' | { readonly crash: string } {
  try {
    return { value: read() }
  } catch (fault) {
    if (fault instanceof Problem && fault.kind === 'invalid') return 'refused'
    return { crash: `crashed: ${fault instanceof Error ? fault.stack : String(fault)}` }
  }
}

/** Judges each input by itself. */
export const each =
  (one: (input: string) => string | undefined | Promise<string | undefined>): Fuzz<unknown>['judge'] =>
  async (inputs) => {
    const faults: (string | undefined)[] = []
    for (const input of inputs) faults.push(await one(input))
    return faults
  }

/** Where a text or bytes are changed, to what, and how: set, cut out, put in. */
export type Change = readonly [at: number, byte: number, how: 'set' | 'cut' | 'put' | 'cut all after']
export const changes = (): fc.Arbitrary<readonly Change[]> =>
  fc.array(
    fc.tuple(
      fc.nat({ max: 2 ** 20 }),
      fc.nat({ max: 255 }),
      fc.constantFrom('set', 'cut', 'put', 'set', 'cut all after'),
    ),
    { minLength: 1, maxLength: 4 },
  )

export function changed(bytes: Uint8Array, list: readonly Change[]): Uint8Array {
  const out = [...bytes]
  for (const [place, byte, how] of list) {
    const at = place % Math.max(out.length, 1)
    if (how === 'cut all after') out.length = at
    else out.splice(at, how === 'put' ? 0 : 1, ...(how === 'cut' ? [] : [byte]))
  }
  return Uint8Array.from(out)
}
