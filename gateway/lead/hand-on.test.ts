import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { answersAt, handOn, type Place } from '#gateway/lead/hand-on.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function listening(onSocket: (socket: Socket) => void): Promise<Place> {
  const server = createServer(onSocket).listen(0, '127.0.0.1')
  servers.push(server)
  await once(server, 'listening')
  return { host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** What is answered to `hello`, and then the end of the connection. */
async function said(place: Place): Promise<string> {
  const socket = connect(place)
  socket.write('hello')
  let text = ''
  socket.on('data', (piece) => {
    text += piece.toString()
  })
  await once(socket, 'close')
  return text
}
const answering = (name: string) => (socket: Socket) =>
  void socket.on('data', (piece) => socket.end(`${name} heard ${piece.toString()}`)).on('error', () => undefined)

test('a connection is the leader’s, both ways and to its end', async () => {
  const leader = await listening(answering('leader'))
  const front = await listening((socket) => handOn(socket, leader, answering('follower')))
  expect(await said(front)).toBe('leader heard hello')
})

test('a leader that does not take it: it is served here, with all that was sent', async () => {
  const nobody = { host: '127.0.0.1', port: 1 }
  const front = await listening((socket) => handOn(socket, nobody, answering('follower')))
  expect(await said(front)).toBe('follower heard hello')
  expect(await answersAt(nobody)).toBe(false)
})

test('a leader that ends takes its connections with it: each dials again', async () => {
  const taken: Socket[] = []
  const leader = await listening((socket) => void taken.push(socket.on('error', () => undefined)))
  const front = await listening((socket) => handOn(socket, leader, answering('follower')))
  expect(await answersAt(leader)).toBe(true)
  const client = connect(front)
  client.on('error', () => undefined)
  client.write('hello')
  await expect.poll(() => taken.some(({ bytesRead }) => bytesRead === 5)).toBe(true)
  for (const socket of taken) socket.destroy()
  await once(client, 'close')
})
