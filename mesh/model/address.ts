import { gatewayAddressOf } from '#mesh/model/gateway-address.ts'

/** Somewhere to connect to. */
export type Address = { readonly address: string; readonly port: number }

/** One text for each address and port, however it is spelled; an IPv4 address in IPv6 clothes is that IPv4 address. */
export function addressKey({ address, port }: Address): string {
  if (!address.includes(':')) return `${address}:${port}`
  const plain = gatewayAddressOf(address)
  return `${/^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain)?.[1] ?? plain}:${port}`
}
