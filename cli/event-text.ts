import { cell, type Row } from '#cli/output.ts'

const servicesShown = 3

/** What an event says: a shift of traffic and a drain's step as a sentence, all else as it is stored. */
export function eventText({ action, detail }: Row): string {
  if (typeof detail !== 'object' || detail === null) return cell(detail)
  const said = detail as Row
  if (action === 'drain.step' && said['percent'] !== undefined)
    return `${cell(said['percent'])} %: ${cell(said['why'])}`
  if (!String(action).startsWith('traffic.') || !Array.isArray(said['to'])) return cell(detail)
  const where = `${namesOf(said['services'], said['servicesCount'])}: ${namesOf(said['from'])} → ${namesOf(said['to'])}`
  const failed = said['failedMeanwhile']
  return [
    where,
    ...evidenceOf(said['evidence']),
    `failed meanwhile: ${failed === null ? 'not measured' : cell(failed)}`,
  ].join('; ')
}

function namesOf(names: unknown, count?: unknown): string {
  const all = Array.isArray(names) ? names : []
  const shown = all.slice(0, servicesShown).map(cell)
  const more = Math.max(all.length, Number(count ?? 0)) - shown.length
  return `${shown.join(', ') || 'nobody'}${more > 0 ? ` and ${more} more` : ''}`
}

function evidenceOf(evidence: unknown): string[] {
  const { probe, service, ready, ejected, advice } = (evidence ?? {}) as Readonly<Record<string, unknown>>
  const asked = probe as Row | undefined
  const one = service as Row | undefined
  const pods = ready as Row | undefined
  return [
    ...(asked
      ? [`${cell(asked['failed'])} of ${cell(asked['of'])} gateways did not answer (${cell(asked['last'])})`]
      : []),
    ...(one ? [`probe ${cell(one['probe'])}: ${cell(one['said'])}, ${cell(one['failed'])} of ${cell(one['of'])}`] : []),
    ...(pods ? [`${cell(pods['ready'])} of ${cell(pods['total'])} pods ready`] : []),
    ...(ejected === undefined ? [] : [`${cell(ejected)} ejected`]),
    ...(advice === undefined ? [] : [`because of: ${cell(advice)}`]),
  ]
}
