import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '#tests/support/until.ts'

/** Keeps one connection to each of two ports, and says what becomes of them. */
const program = `
const { connect } = require('node:net')
for (const port of process.argv.slice(1)) {
  const dial = () => {
    const line = connect({ host: '127.0.0.1', port: Number(port) }, () => console.log(port, 'open'))
    line.on('error', (error) => console.log(port, error.code))
    line.on('close', () => setTimeout(dial, 20))
  }
  dial()
}`

test('a cut line ends the connections to the centre and no others, and mended it carries again', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'isthmus-cut-'))
  const servers = [createServer(), createServer()]
  for (const one of servers) {
    one.on('connection', (socket) => socket.on('error', () => undefined))
    await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve))
  }
  const [centre, other] = servers.map((one) => (one.address() as AddressInfo).port)
  const cut = join(dir, 'cut')
  const env = { ISTHMUS_SANDBOX_CUT: cut, ISTHMUS_SANDBOX_CENTRE: `127.0.0.1:${centre}` }
  const script = join(import.meta.dirname, 'cut-line.js')
  const child = spawn(process.execPath, ['--import', script, '-e', program, String(centre), String(other)], { env })
  let said = ''
  child.stdout.on('data', (part: Buffer) => (said += part.toString()))
  try {
    await eventually(10_000, 'both are open', () => said.includes(`${centre} open`) && said.includes(`${other} open`))
    writeFileSync(cut, '')
    await eventually(10_000, 'the line is cut, again and again', () => said.split(`${centre} ENETUNREACH`).length > 3)
    said = ''
    rmSync(cut)
    await eventually(10_000, 'it is open again', () => said.includes(`${centre} open`))
    expect(said).not.toContain(String(other))
  } finally {
    child.kill('SIGKILL')
    for (const one of servers) one.close()
    rmSync(dir, { recursive: true, force: true })
  }
})
