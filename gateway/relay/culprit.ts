import type { Held } from '#gateway/relay/subscription.ts'
import type { XdsResource } from '#mesh/model/resource.ts'

/** A resource that one client refused, with what it holds instead. */
export type Refusal = { readonly resource: XdsResource; readonly detail: string; readonly kept: Held | undefined }

/** Error texts come from the client: only so much of one is searched. */
const searchedCharacters = 16_384

/**
 * Which of the resources in a refused response are to blame.
 *
 * Envoy names the resource in most of its messages, so a name found in `error` is believed; the only resource of a
 * response is to blame without one. Otherwise the names are halved, to be offered again in two responses, unless
 * `giveUp`: then all are to blame.
 */
export function culpritsOf(error: string, sent: readonly XdsResource[], giveUp: boolean) {
  const text = error.slice(0, searchedCharacters)
  const named = sent.filter((r) => mentions(text, r.name))
  const culprits = named.length > 0 ? named : giveUp || sent.length === 1 ? sent : []
  const names = sent.map((r) => r.name)
  const middle = Math.ceil(names.length / 2)
  const halves = culprits.length > 0 || names.length < 2 ? [] : [names.slice(0, middle), names.slice(middle)]
  return { culprits, halves }
}

/** Whether `name` stands in `text` as a whole: `reviews` is not mentioned by `reviews-v2`. */
function mentions(text: string, name: string): boolean {
  for (let at = text.indexOf(name); at >= 0 && name !== ''; at = text.indexOf(name, at + 1)) {
    const before = text[at - 1] ?? ' '
    const after = text.slice(at + name.length, at + name.length + 2)
    if (!/[\w|.-]/.test(before) && !/^([\w|-]|\.[\w-])/.test(after)) return true
  }
  return false
}
