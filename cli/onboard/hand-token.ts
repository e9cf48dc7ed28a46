import type { Centre } from '#cli/context.ts'
import { refusal } from '#cli/failure.ts'
import { sendApply } from '#cli/onboard/apply.ts'
import type { ClusterApi, Json } from '#cli/onboard/cluster-api.ts'
import { type KubeObject, namespaced, systemNamespace } from '#cli/onboard/manifests/object.ts'
import { joinSecret, relaySecret } from '#cli/onboard/manifests/settings.ts'
import { type Member, newToken, type Token } from '#cli/onboard/membership.ts'
import { objectPath } from '#cli/onboard/object-path.ts'

const expiresAnnotation = 'isthmus.dev/expires'
const forAnnotation = 'isthmus.dev/join'
/** Its relay has to start and to redeem it. */
const lifeMsMin = 10 * 60_000

export type Handing = {
  readonly api: ClusterApi
  readonly centre: Centre
  readonly cluster: string
  readonly member: Member
  readonly now: () => number
}

/** What a relay needs to join: `none` where it has joined, `kept` where an earlier run has handed a token over. */
export type Handed = 'none' | 'kept' | 'new'

/**
 * Puts a join token where the relay finds it, unless it has joined or has one. Throws `conflict` where the relay of
 * another Kubernetes cluster reports under this name.
 */
export async function handToken({ api, centre, cluster, member, now }: Handing): Promise<Handed> {
  const [hasJoined, before] = await Promise.all([secretMetadata(api, relaySecret), secretMetadata(api, joinSecret)])
  if (member.state === 'joined' && hasJoined) return 'none'
  if (member.state === 'joined' && member.isHeard)
    throw refusal({
      kind: 'conflict',
      why: `cluster "${cluster}" is a member whose relay reports, and that relay is not here: ${api.said} is another cluster`,
      on: `Secret ${systemNamespace}/${relaySecret} of ${api.said}`,
      mend: `give this one a name of its own; where its relay was just lost, wait until it counts as silent (isthmus get clusters ${cluster})`,
    })
  const purpose = `${centre.url} ${cluster} ${member.generation}`
  if (before?.[forAnnotation] === purpose && Date.parse(before[expiresAnnotation] ?? '') - now() > lifeMsMin)
    return 'kept'
  await sendApply(api, secretFor(await newToken(centre, cluster), purpose), false)
  return 'new'
}

function secretFor({ token, expiresAt }: Token, purpose: string): KubeObject {
  const { metadata, ...rest } = namespaced({ apiVersion: 'v1', kind: 'Secret', name: joinSecret, part: 'relay' })
  return {
    ...rest,
    metadata: { ...metadata, annotations: { [expiresAnnotation]: expiresAt, [forAnnotation]: purpose } },
    type: 'Opaque',
    data: { token: Buffer.from(token).toString('base64') },
  }
}

/** A spent token is of no use to anybody. */
export async function takeTokenBack(api: ClusterApi): Promise<boolean> {
  if (!(await secretMetadata(api, joinSecret))) return false
  await api.call('DELETE', secretPath(joinSecret))
  return true
}

const secretPath = (name: string): string =>
  objectPath({ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace: systemNamespace } })

/** The annotations of a Secret, without what it holds; undefined where there is none. */
async function secretMetadata(api: ClusterApi, name: string): Promise<Readonly<Record<string, string>> | undefined> {
  const accept = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'
  const found = await api.find(secretPath(name), { accept })
  return found && ((((found['metadata'] ?? {}) as Json)['annotations'] ?? {}) as Readonly<Record<string, string>>)
}
