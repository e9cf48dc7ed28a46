import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { certificatePem } from '#mesh/trust/certificate.ts'
import { centreServingNames } from '#mesh/trust/names.ts'
import { make, makeControlPlaneCa } from '#tests/support/authorities.ts'

// The floor of the centre's door: Node's HTTPS server that reads each request to its end and answers the same bytes.
process.once('message', ({ answer }: { readonly answer: object }) => void serve(JSON.stringify(answer)))

async function serve(text: string): Promise<void> {
  const ca = await makeControlPlaneCa()
  const { pem, key } = await make({ profile: 'centre-serving', names: centreServingNames([], ['127.0.0.1']), by: ca })
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }
  const server = createServer({ cert: pem + ca.pem, key: key.keyPem }, (request, response) => {
    request.resume().on('end', () => response.writeHead(200, headers).end(text))
  })
  server.listen(0, '127.0.0.1', () => {
    process.send?.({ port: (server.address() as AddressInfo).port, ca: certificatePem(ca.certificate) })
  })
}
