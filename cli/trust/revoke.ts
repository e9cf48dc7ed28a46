import { setTimeout as pause } from 'node:timers/promises'
import { callCentre } from '#cli/call-centre.ts'
import { mended } from '#cli/commands/cluster.ts'
import type { Centre } from '#cli/context.ts'
import { harmless } from '#cli/output.ts'
import { parseRevocation, type Revocation } from '#cli/trust/shapes.ts'

const path = '/v1/revocations'

export type Shut = { readonly kind: string; readonly subject: string; readonly reason: string }

export async function beginRevocation(centre: Centre, body: Shut): Promise<Revocation> {
  const mends = { 'not-found': 'isthmus get clusters', conflict: 'isthmus trust show' }
  return parseRevocation((await mended(centre, { method: 'POST', path, body }, mends)).body)
}

/** Throws `not-found`. */
const revocationOf = async (centre: Centre, cut: number): Promise<Revocation> =>
  parseRevocation((await callCentre(centre, { method: 'GET', path: `${path}/${cut}` })).body)

export async function undoRevocation(centre: Centre, cut: number, reason: string): Promise<Revocation> {
  const call = { method: 'POST', path: `${path}/${cut}/undo`, body: { reason } }
  const mends = { 'not-found': 'isthmus trust show', conflict: 'isthmus trust show' }
  return parseRevocation((await mended(centre, call, mends)).body)
}

const isNumber = (ms: unknown): ms is number => typeof ms === 'number'

/** Whether every relay has told both of its times. */
export const isMeasured = ({ relays }: Revocation): boolean =>
  relays.length > 0 && relays.every(({ newMs, oldMs }) => isNumber(newMs) && isNumber(oldMs))

/** Waits for the relays' word at most `withinMs`; gives what there is then. */
export async function untilMeasured(
  centre: Centre,
  first: Revocation,
  { withinMs, everyMs = 1000 }: { readonly withinMs: number; readonly everyMs?: number },
): Promise<Revocation> {
  const end = performance.now() + withinMs
  let seen = first
  while (!isMeasured(seen) && performance.now() < end) {
    await pause(everyMs)
    seen = await revocationOf(centre, first.cut)
  }
  return seen
}

/** What a person reads: in how long new handshakes are refused, old connections are gone, and who has not told. */
export function revocationText(seen: Revocation): string {
  const { cut, kind, subject, relays, undoneAt } = seen
  const told = (of: 'newMs' | 'oldMs') => relays.flatMap((one) => (isNumber(one[of]) ? [one[of]] : []))
  const line = (what: string, times: readonly number[]) =>
    times.length === 0
      ? `  ${what}: no relay has told yet (0 of ${relays.length})\n`
      : `  ${what} after ${secondsOf(Math.max(...times))} (${times.length} of ${relays.length} relays)\n`
  const silent = relays.filter(({ newMs, oldMs }) => !isNumber(newMs) || !isNumber(oldMs))
  if (undoneAt) return harmless(`${kind} ${subject} is let in again: revocation ${cut} was undone`).concat('\n')
  return [
    harmless(`${kind === 'foreign' ? 'trust domain' : kind} ${subject} is revoked: revocation ${cut}`),
    '\n',
    line('new handshakes refused', told('newMs')),
    line('old connections closed', told('oldMs')),
    ...silent.map(({ cluster }) => `  not yet told: ${harmless(cluster)}\n`),
  ].join('')
}

const secondsOf = (ms: number): string => `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`
