import { setTimeout as pause } from 'node:timers/promises'
import { openHints } from '#gateway/uplink/hints.ts'
import type { Membership } from '#gateway/uplink/membership.ts'
import { openReceiver, type Receiver } from '#gateway/uplink/receiver.ts'
import { epStream, everybody, sourceOf } from '#mesh/wire/stream.ts'
import { type HintFigures, spreadOf } from '#tests/bench/centre-figures.ts'
import type { BenchMember } from '#tests/bench/centre-member.ts'

export type CentreLine = Pick<Membership, 'url'> & { readonly ca: string }

/** Opens the hint connection of each member; gives back a count of what they get, and their end. */
export async function watchAll(line: CentreLine, members: readonly BenchMember[]) {
  let hints = 0
  const open = await Promise.all(
    members.map(
      ({ name, token }) =>
        new Promise<{ close(): void }>((resolve, reject) => {
          const connection = openHints(
            { ...line, token },
            {
              onOpen: () => undefined,
              onGap: () => undefined,
              onHint: () => {
                hints++
                resolve(connection)
              },
              onClose: ({ reason }) => reject(new Error(`the hint connection of ${name} ended: ${reason}`)),
            },
          )
        }),
    ),
  )
  return {
    hints: () => hints,
    close: () => {
      for (const one of open) one.close()
    },
  }
}

/**
 * One change at a time, by each writer in turn, `spaceMs` between them; `reader` has its hint connection open, and two
 * receivers of a relay: one takes what the hint brings, the other one pulls when the hint comes.
 */
export async function measureHints(
  line: CentreLine,
  { writers, reader }: { readonly writers: readonly BenchMember[]; readonly reader: BenchMember },
  { changes, spaceMs }: { readonly changes: number; readonly spaceMs: number },
): Promise<HintFigures> {
  const byHint = receiverOf(reader)
  const byPull = receiverOf(reader)
  await Promise.all([byHint.pull(), byPull.pull()])
  let waitFor: { readonly stream: string; readonly seen: (at: number) => void } | undefined
  let greeted: () => void = () => undefined
  const ready = new Promise<void>((resolve) => {
    greeted = resolve
  })
  const hints = openHints(
    { ...line, token: reader.token },
    {
      onOpen: () => undefined,
      onGap: () => undefined,
      onHint: ({ heads }, delta) => {
        greeted()
        const at = performance.now()
        byHint.hint(heads, delta)
        if (heads.some(([stream]) => stream === waitFor?.stream)) waitFor?.seen(at)
      },
      onClose: ({ reason }) => {
        throw new Error(`the hint connection ended: ${reason}`)
      },
    },
  )
  try {
    await ready
    const took = { sync: [], answerToHint: [], sendToHint: [], sendToHeld: [], hintToPulled: [] } as Record<
      Exclude<keyof HintFigures, 'changes'>,
      number[]
    >
    // The first ones compile code and are not counted.
    for (let n = -20; n < changes; n++) {
      const writer = writers[(n + 20) % writers.length]
      if (!writer) throw new Error('nobody writes')
      const stream = epStream(writer.name, everybody)
      const hinted = new Promise<{ at: number; heldAt: number; pulledAt: number }>((resolve, reject) => {
        waitFor = {
          stream,
          seen: (at) => {
            const heldAt = performance.now()
            waitFor = undefined
            byPull.pull().then(() => resolve({ at, heldAt, pulledAt: performance.now() }), reject)
          },
        }
      })
      const sync = writer.next(1)
      const sent = performance.now()
      const answered = writer.send(sync).then(() => performance.now())
      const [answer, { at, heldAt, pulledAt }] = await Promise.all([answered, hinted])
      if (n >= 0) {
        took.sync.push(answer - sent)
        took.answerToHint.push(at - answer)
        took.sendToHint.push(at - sent)
        took.sendToHeld.push(heldAt - sent)
        took.hintToPulled.push(pulledAt - at)
      }
      await pause(spaceMs)
    }
    for (const receiver of [byHint, byPull]) checkHeld(receiver, writers)
    return {
      changes,
      sync: spreadOf(took.sync),
      answerToHint: spreadOf(took.answerToHint),
      sendToHint: spreadOf(took.sendToHint),
      sendToHeld: spreadOf(took.sendToHeld),
      hintToPulled: spreadOf(took.hintToPulled),
    }
  } finally {
    hints.close()
  }
}

/** Pulls all that `reader` may know, and throws where it is not what the others have reported: then no figure counts. */
export async function checkCentre(reader: BenchMember, others: readonly BenchMember[]): Promise<void> {
  const receiver = receiverOf(reader)
  await receiver.pull()
  checkHeld(receiver, others)
}

const receiverOf = ({ client, token }: BenchMember): Receiver =>
  openReceiver({
    call: (path, body, schema) => client.call({ path, body, schema, token, timeoutMs: 60_000 }),
    store: { loaded: new Map(), faults: () => [], keep: () => undefined, close: () => undefined },
    log: { info: () => undefined, warn: () => undefined },
    signal: new AbortController().signal,
    lasting: new Set(),
    onReceived: () => undefined,
    onOtherEpoch: () => undefined,
  })

function checkHeld(receiver: Receiver, others: readonly BenchMember[]): void {
  const held = new Map<string, number>()
  for (const [stream, { items }] of receiver.received())
    for (const [service, body] of items) {
      const { counts } = body as { readonly counts?: readonly { readonly ready: number }[] }
      if (counts?.[0]) held.set(`${sourceOf(stream)} ${service}`, counts[0].ready)
    }
  for (const { name, ready } of others)
    for (const [service, count] of ready()) {
      const seen = held.get(`${name} ${service}`)
      if (seen !== count) throw new Error(`${name} reported ${count} of ${service} ready, and its reader holds ${seen}`)
    }
}
