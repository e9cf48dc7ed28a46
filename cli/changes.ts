import { tiersText } from '#cli/config-text.ts'
import { cell, harmless } from '#cli/output.ts'
import type { Paint } from '#cli/paint.ts'
import type { Json } from '#mesh/model/canonical.ts'
import { type Difference, differencesOf } from '#mesh/model/differences.ts'

/** Named parts of something: a config's entries by key, a policy's spec as one part. */
export type Parts = Readonly<Record<string, Json>>

/** One part that came, went or differs; of the last kind where. */
export type PartChange = {
  readonly key: string
  readonly change: 'added' | 'removed' | 'changed'
  readonly differences?: readonly Difference[]
}

/** What differs between two configs, or two states of a policy, in the order of its keys. */
export function changesBetween(before: Parts, after: Parts): PartChange[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].toSorted()
  return keys.flatMap((key): PartChange[] => {
    if (before[key] === undefined) return [{ key, change: 'added' }]
    if (after[key] === undefined) return [{ key, change: 'removed' }]
    const tiers = tiersChange(before[key], after[key])
    const found = differencesOf(before[key], after[key])
    const others = tiers ? found.filter(({ path }) => !/^tiers\b/.test(path)) : found
    const differences = [...(tiers ? [tiers] : []), ...others]
    return differences.length === 0 ? [] : [{ key, change: 'changed', differences }]
  })
}

/** An order of clusters is read as one line or not at all. */
function tiersChange(before: Json, after: Json): Difference | undefined {
  const [old, fresh] = [before, after].map((part) => {
    const tiers = typeof part === 'object' && part !== null && 'tiers' in part ? part['tiers'] : undefined
    return Array.isArray(tiers) && tiers.every((one) => typeof one === 'object' && one !== null && 'members' in one)
      ? tiersText(tiers)
      : undefined
  })
  if (old === undefined || fresh === undefined || old === fresh) return undefined
  return { path: 'tiers', before: old, after: fresh }
}

const signs = { added: '+', removed: '-', changed: '~' } as const
const tones = { added: 'good', removed: 'bad', changed: 'slow' } as const

/** The changes for a person, a line for each part and each place in it. */
export function changesText(changes: readonly PartChange[], paint: Paint): string {
  return changes
    .flatMap(({ key, change, differences = [] }) => [
      `${paint(tones[change], signs[change])} ${harmless(key)}\n`,
      ...differences.map((one) => `    ${harmless(differenceText(one))}\n`),
    ])
    .join('')
}

const shownMax = 300

function differenceText({ path, before, after }: Difference): string {
  const text = (value: Json) => {
    const whole = cell(value)
    return whole.length > shownMax ? `${whole.slice(0, shownMax)}…` : whole
  }
  if (before === undefined && after !== undefined) return `+ ${path}: ${text(after)}`
  if (after === undefined && before !== undefined) return `- ${path}: ${text(before)}`
  return `${path}: ${text(before ?? null)} → ${text(after ?? null)}`
}
