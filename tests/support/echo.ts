import { createServer, type Server } from 'node:http'
import { createServer as createTcpServer, type Server as TcpServer } from 'node:net'

/** Answers what it is sent, as it comes; a WebSocket is echoed without looking at its frames. */
export function serveEcho(): Server {
  const server = createServer((req, res) => {
    res.writeHead(200, { 'x-method': req.method })
    res.flushHeaders()
    req.pipe(res)
  })
  server.on('upgrade', (_, socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
    socket.on('error', () => socket.destroy())
    socket.pipe(socket)
  })
  return server
}

/** The same for a TCP connection. */
export const serveTcpEcho = (): TcpServer =>
  createTcpServer((socket) => {
    socket.on('error', () => socket.destroy())
    socket.pipe(socket)
  })

export const listening = (server: Server | TcpServer, port: number, host: string): Promise<void> =>
  new Promise((done, fail) => {
    server.once('error', fail)
    server.listen(port, host, () => done())
  })
