import { canonicalJson, type Json } from '#mesh/model/canonical.ts'
import type { Fleet, Member } from '#mesh/model/fleet.ts'
import type { ServiceKey } from '#mesh/model/id.ts'

/**
 * The fleet as it is, each of its parts that is as it was in `last` being the object of then: a compiler does again only
 * what is another object. Equal to `now` in any case.
 */
export function retained(now: Fleet, last: Fleet | undefined): Fleet {
  if (!last) return now
  const members = new Map(last.members.map((member) => [member.name, member]))
  return {
    ...now,
    members: now.members.map((member) => retainedMember(member, members.get(member.name))),
    narrowings: retainedList(now.narrowings, last.narrowings),
    ...(now.policies ? { policies: retainedList(now.policies, last.policies) } : {}),
    ...(now.groups ? { groups: retainedList(now.groups, last.groups) } : {}),
    ...(now.serviceDrains ? { serviceDrains: retainedList(now.serviceDrains, last.serviceDrains) } : {}),
    ...(now.cuts ? { cuts: sameCuts(now.cuts, last.cuts) && last.cuts ? last.cuts : now.cuts } : {}),
  }
}

const textOf = (part: object): string => canonicalJson(part as Json)

function retainedList<T extends object>(now: readonly T[], last: readonly T[] = []): readonly T[] {
  const known = new Map(last.map((one) => [textOf(one), one]))
  return now.map((one) => known.get(textOf(one)) ?? one)
}

/** What a revocation reaches is written once and never changes. */
const sameCuts = (now: Fleet['cuts'] = [], last: Fleet['cuts'] = []): boolean =>
  now.length === last.length && now.every(({ cut }, at) => cut === last[at]?.cut)

function retainedMember(now: Member, last: Member | undefined): Member {
  if (!last) return now
  const exports = retainedExports(now.exports, last.exports)
  const { exports: _1, refused: isRefused, ...facts } = now
  const { exports: _2, refused: wasRefused, ...factsThen } = last
  const isSame =
    exports === last.exports &&
    isRefused.size === wasRefused.size &&
    isRefused.isSubsetOf(wasRefused) &&
    textOf(facts) === textOf(factsThen)
  return isSame ? last : { ...now, exports }
}

function retainedExports(now: Member['exports'], last: Member['exports']): Member['exports'] {
  if (now === last) return last
  const exports = [...now].map(([key, one]): [ServiceKey, typeof one] => {
    const old = last.get(key)
    return [key, old && textOf(old) === textOf(one) ? old : one]
  })
  const isSame = exports.length === last.size && exports.every(([key, one]) => last.get(key) === one)
  return isSame ? last : new Map(exports)
}
