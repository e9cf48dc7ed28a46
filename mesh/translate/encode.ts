import { isIP } from 'node:net'
import { create, type DescMessage, type MessageInitShape, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { type Any, anyPack } from '@bufbuild/protobuf/wkt'
import { ApiConfigSource_ApiType, ApiVersion, ConfigSourceSchema } from '#gen/envoy/config/core/v3/config_source_pb.js'
import { sha256Hex } from '#mesh/model/canonical.ts'
import type { TypeUrl, XdsResource } from '#mesh/model/resource.ts'

/** The fields of a message to be made: what `create` takes, without a finished message. */
export type Fields<D extends DescMessage> = Exclude<MessageInitShape<D>, MessageShape<D>>

/**
 * One resource from a message: its bytes, once, and their hash as the version. Equal messages give equal bytes: fields
 * leave in the order of their numbers, and what builds the maps (metadata, typed options) sorts their keys.
 */
export function encode<D extends DescMessage>(
  what: { readonly type: TypeUrl; readonly name: string; readonly owner?: string | undefined },
  schema: D,
  message: MessageShape<D>,
): XdsResource {
  const bytes = toBinary(schema, message)
  const version = sha256Hex(bytes).slice(0, 16)
  const owner = what.owner === undefined ? {} : { owner: what.owner }
  return { type: what.type, name: what.name, bytes, version, ...owner }
}

/** A typed message as an Any. */
export const any = <D extends DescMessage>(schema: D, init: MessageInitShape<D>): Any =>
  anyPack(schema, create(schema, init))

/** An extension by name with its typed configuration, as filters, sockets and loggers carry it. */
export const extension = <D extends DescMessage>(name: string, schema: D, init: MessageInitShape<D>) => ({
  name,
  configType: { case: 'typedConfig' as const, value: any(schema, init) },
})

/** A duration; `ms` may be any whole number of milliseconds. */
export const duration = (ms: number) => ({
  seconds: BigInt(Math.trunc(ms / 1000)),
  nanos: Math.round((ms % 1000) * 1_000_000),
})

export const socketAddress = (address: string, port: number) => ({
  address: {
    case: 'socketAddress' as const,
    value: { address, portSpecifier: { case: 'portValue' as const, value: port } },
  },
})

/** What a user's object is called in status and in NACKs. */
export const ownerOf = (key: string): string => `service ${key}`

/** Whether Envoy takes it as an IP address: one name or scope in an update makes it refuse the whole update. */
export const isAddress = (text: string): boolean => isIP(text) !== 0 && !text.includes('%')

/** By code unit, in every locale the same. */
export const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

/** From the stream that brought the resource itself; the first answer is waited for as long as it takes. */
export const fromAds = create(ConfigSourceSchema, {
  configSourceSpecifier: { case: 'ads' as const, value: {} },
  resourceApiVersion: ApiVersion.V3,
  initialFetchTimeout: duration(0),
})

/** From the program beside Envoy, whose cluster `sds-grpc` is in the bootstrap; the name is that of Istio's agent. */
export const fromAgent = create(ConfigSourceSchema, {
  configSourceSpecifier: {
    case: 'apiConfigSource' as const,
    value: {
      apiType: ApiConfigSource_ApiType.GRPC,
      transportApiVersion: ApiVersion.V3,
      setNodeOnFirstMessageOnly: true,
      grpcServices: [{ targetSpecifier: { case: 'envoyGrpc' as const, value: { clusterName: 'sds-grpc' } } }],
    },
  },
  resourceApiVersion: ApiVersion.V3,
  initialFetchTimeout: duration(0),
})
