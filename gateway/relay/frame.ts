import { frameHead } from '#gateway/grpc/frames.ts'
import type { Mode } from '#gateway/relay/stream-state.ts'
import type { XdsResource } from '#mesh/model/resource.ts'

/** One encoded response, framed for the wire: what stands one behind the other, its size in bytes, and its nonce. */
export type Frame = { readonly pieces: readonly Buffer[]; readonly size: number; readonly nonce: string }

export type Framer = {
  /**
   * The response as bytes. Streams that need the same response at the same time share it, nonce included: a
   * nonce must only differ from those this stream saw before, so one not newer than `after` is not used again.
   */
  readonly frame: (response: Response, after: string | undefined) => Frame
}

type Response = {
  readonly mode: Mode
  readonly type: string
  readonly resources: readonly XdsResource[]
  readonly removed: readonly string[]
}

const ids = new WeakMap<XdsResource, number>()
let lastId = 0

/** A response up to this size is one buffer; a larger one stays in pieces that all responses with a resource share. */
const smallBytes = 16 << 10

/** Recent responses kept for the next stream that needs them: streams need the same at the same time. */
const recentBytes = 2 << 20
const recentMax = 256

/**
 * Encodes DiscoveryResponse and DeltaDiscoveryResponse by putting pieces one behind the other: the fields of a
 * message may stand in any order, and repeated fields concatenate. `boot` makes nonces differ between relay processes.
 * Source: protobuf encoding, "Last One Wins" and "Repeated Elements"; field numbers of envoy.service.discovery.v3.
 */
export function createFramer(boot: string): Framer {
  const recent = new Map<string, Frame & { readonly serial: number }>()
  let recentSize = 0
  let serial = 0

  const build = (response: Response): Frame & { readonly serial: number } => {
    serial += 1
    const nonce = `${boot}.${serial}`
    const resources = response.resources.flatMap((r) => piecesOf(r, response.mode))
    const rest = kept([
      stringField(1, nonce), // version_info and system_version_info: clients only compare it
      stringField(4, response.type),
      stringField(5, nonce),
      ...(response.mode === 'delta' ? response.removed.map((name) => stringField(6, name)) : []),
    ])
    const length = sizeOf(resources) + rest.length
    const all = [kept([frameHead(length)]), ...resources, rest]
    const size = sizeOf(all)
    return { pieces: size <= smallBytes ? [kept(all)] : all, size, nonce, serial }
  }

  const serialOf = (nonce: string): number => Number(nonce.slice(boot.length + 1))

  return {
    frame: (response, after) => {
      const key = keyOf(response)
      const known = recent.get(key)
      if (known && (after === undefined || known.serial > serialOf(after))) return known
      const fresh = build(response)
      recentSize += fresh.size - (known?.size ?? 0)
      recent.delete(key)
      recent.set(key, fresh)
      for (const [oldest, { size }] of recent) {
        if (recentSize <= recentBytes && recent.size <= recentMax) break
        recent.delete(oldest)
        recentSize -= size
      }
      return fresh
    },
  }
}

/** Nearly every response is one resource to all streams. */
function keyOf({ mode, type, resources, removed }: Response): string {
  const [one] = resources
  if (one && resources.length === 1 && removed.length === 0) return `${mode} ${idOf(one)}`
  return JSON.stringify([mode, type, resources.map(idOf).join(), removed])
}

function idOf(resource: XdsResource): number {
  const known = ids.get(resource)
  if (known !== undefined) return known
  lastId += 1
  ids.set(resource, lastId)
  return lastId
}

/** What makes a resource's own bytes field 2 of a response, and these bytes, which all responses with it share. */
function piecesOf(resource: XdsResource, mode: Mode): readonly [head: Buffer, body: Buffer] {
  const { buffer, byteOffset, byteLength } = resource.bytes
  const head = mode === 'sotw' ? headOfAny(resource) : headOfNamed(resource)
  return [kept([head]), Buffer.from(buffer, byteOffset, byteLength)]
}

/** A `Resource` up to its bytes: its name and version stand before them. */
function headOfNamed(r: XdsResource): Buffer {
  const any = headOfAny(r)
  const before = Buffer.concat([stringField(1, r.version), stringField(3, r.name), any])
  return Buffer.concat([fieldHead(2, before.length + r.bytes.length), before])
}

/** An `Any` as field 2, which it is in both messages, up to its bytes. */
function headOfAny(r: XdsResource): Buffer {
  const before = Buffer.concat([stringField(1, r.type), fieldHead(2, r.bytes.length)])
  return Buffer.concat([fieldHead(2, before.length + r.bytes.length), before])
}

const sizeOf = (parts: readonly Buffer[]): number => parts.reduce((sum, part) => sum + part.length, 0)

/** Memory of its own: a small buffer is otherwise a part of a large one, which stays as long as any of its parts. */
function kept(parts: readonly Buffer[]): Buffer {
  const whole = Buffer.allocUnsafeSlow(sizeOf(parts))
  let at = 0
  for (const part of parts) at += part.copy(whole, at)
  return whole
}

function stringField(number: number, text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([fieldHead(number, bytes.length), bytes])
}

/** Tag and length of a field of wire type 2; every number here is below 16, so its tag is one byte. */
function fieldHead(number: number, bytes: number): Buffer {
  const head = [number * 8 + 2]
  let length = bytes
  for (; length > 127; length >>>= 7) head.push((length & 127) | 128)
  head.push(length)
  return Buffer.from(head)
}
