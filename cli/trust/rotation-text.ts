import { age, harmless } from '#cli/output.ts'
import { type Paint, plain } from '#cli/paint.ts'
import type { Rotation, Waiting } from '#cli/trust/shapes.ts'

/** What a rotation is doing, and by whom it is kept waiting. */
export function rotationText(rotation: Rotation, now: number, paint: Paint = plain): string {
  const { step, state, startedAt, stepAt, waitsFor, progress, forced } = rotation
  const since = stepAt ? ` for ${age(stepAt, now)}` : ''
  const head = `rotation of ${whatOf(rotation)}${startedAt ? `, begun ${age(startedAt, now)} ago` : ''}: ${standing(state, step, since, paint)}`
  const done = state === 'running' && progress ? ` (${progress.done} of ${progress.of})` : ''
  return [
    `${head}${done}\n`,
    ...waitsFor.map((one) => `  waits for ${waitingText(one, rotation.kind)}\n`),
    ...forced.map((one) => `  forced past ${one.step}: ${harmless(one.reason)}\n`),
  ].join('')
}

const standing = (state: string, step: string, since: string, paint: Paint): string => {
  if (state === 'running') return `${paint('slow', step)}${since}`
  return paint(state === 'done' ? 'good' : 'bad', state)
}

const whatOf = ({ kind, cluster }: Rotation): string =>
  harmless(kind === 'issuing' ? `the issuing CA of ${cluster ?? 'a cluster'}` : `the ${names[kind] ?? kind}`)
const names: Readonly<Record<string, string>> = { 'control-plane': 'control-plane CA' }

const waitingText = ({ cluster, what, detail }: Waiting, kind: string): string => {
  const text = kind === 'issuing' && what === 'issuing' ? 'its new issuing CA' : (words[what] ?? what)
  return harmless(`${cluster}: ${text}${detail === '' ? '' : `: ${detail}`}`)
}

const words: Readonly<Record<string, string>> = {
  unreachable: 'its relay, which is silent',
  bundle: 'its relay to take the bundle',
  proxies: 'its proxies to acknowledge the bundle',
  issuing: 'its issuing CA under the new root',
  leaves: 'its workloads’ new certificates',
  serving: 'its relay’s certificate of the new CA',
  pinned: 'its relay to believe the new CA',
}

/** What each step does. */
const deeds: Readonly<Record<string, string>> = {
  prepared: 'the new key and certificate are made and checked; nobody is told yet',
  published: 'everybody is told to accept the new beside the old; waits for every proxy’s acknowledgement',
  active: 'the new one signs; every issuing CA and certificate is made anew; waits until none of the old is in use',
  tainted: 'nothing of the old is in use any more',
  revoked: 'nobody accepts the old one any more',
}

const issuingDeed = 'its relay asks for the new one; the root is the same, so nobody has to be told'

/** A rehearsal: the steps to come, and who would keep each waiting if it were now. */
export function planText(rotation: Rotation): string {
  const { kind, steps = [] } = rotation
  const lines = steps.flatMap(({ step, waitsFor }) => [
    `  ${step.padEnd(10)} ${kind === 'issuing' ? issuingDeed : (deeds[step] ?? '')}\n`,
    ...waitsFor.map((one) => `             now it would wait for ${waitingText(one, kind)}\n`),
  ])
  return `rotation of ${whatOf(rotation)}, if it began now; nothing was changed:\n${lines.join('')}`
}
