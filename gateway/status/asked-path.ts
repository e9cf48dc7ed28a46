import { labelFault } from '#mesh/model/id.ts'
import { Problem } from '#mesh/model/problem.ts'

/** Whose call, and where to. */
export type AskedPath = {
  readonly namespace: string
  readonly pod: string
  readonly host: string
  readonly port?: number
}

/** What `/explain?…` asks. Throws `invalid`, with how to ask. */
export function parseAskedPath(query: string | undefined): AskedPath {
  const said = new URLSearchParams(query)
  const [, namespace, pod] = /^([^/]{1,63})\/([^/]{1,253})$/.exec(said.get('pod') ?? '') ?? []
  const host = said.get('host') ?? ''
  const port = said.get('port')
  const isPort = port === null || (/^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) < 65_536)
  const isNamespace = namespace !== undefined && labelFault(namespace) === undefined
  if (!isNamespace || pod === undefined || host === '' || host.length > 253 || !isPort)
    throw new Problem('invalid', 'ask /explain?pod=<namespace>/<pod>&host=<host>&port=<port>; the port may be left out')
  return { namespace, pod, host, ...(port === null ? {} : { port: Number(port) }) }
}
