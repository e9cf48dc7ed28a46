import { refusal } from '#cli/failure.ts'

const form = /^([a-z0-9-]+|gtp\/[a-z0-9-]+\/[a-z0-9-]+|group\/[a-z0-9-]+)$/

/**
 * What has a history, as it is said: a cluster, `gtp/<namespace>/<name>` or `group/<name>`. Throws `invalid`, with the
 * command as it was probably meant.
 */
export function historyObject(
  said: string,
  { on, mend }: { readonly on: string; readonly mend: (near: string) => string },
): string {
  if (form.test(said)) return said
  const near = nearObject(said)
  throw refusal({
    kind: 'invalid',
    why: `"${said.slice(0, 200)}" is no cluster, no gtp/<namespace>/<name> and no group/<name>`,
    on,
    mend: near === undefined ? 'isthmus history shows what there is' : mend(near),
  })
}

/** `bookinfo/reviews`, `policy/bookinfo/reviews`, `sg/prod`, `virginia-1@4`. */
function nearObject(said: string): string | undefined {
  const parts = (said.toLowerCase().split('@')[0] ?? '').split('/')
  const [first = '', ...names] = parts
  const isGroup = ['group', 'groups', 'sg', 'samenessgroup', 'sameness-group', 'sameness-groups'].includes(first)
  const near =
    parts.length === 2
      ? `${isGroup ? 'group' : `gtp/${first}`}/${names[0]}`
      : parts.length === 3
        ? `gtp/${names.join('/')}`
        : first
  return form.test(near) ? near : undefined
}
