import { existsSync } from 'node:fs'
import { Socket } from 'node:net'

// Loaded into each relay of the sandbox before it starts (`node --import`). While the file ISTHMUS_SANDBOX_CUT exists, the
// relay's connections to the centre (ISTHMUS_SANDBOX_CENTRE, <host>:<port>) end and new ones fail, as behind a firewall that
// came between them. Without a privilege nothing outside of the process can do that to loopback; all else goes through.
// JavaScript, because a relay that loads one file of TypeScript loads Node's compiler with it: 22 MB.
const file = process.env['ISTHMUS_SANDBOX_CUT'] ?? ''
const centre = process.env['ISTHMUS_SANDBOX_CENTRE'] ?? ''
const lookMs = 100
const open = new Set()

const fault = () => Object.assign(new Error('the sandbox has cut this line'), { code: 'ENETUNREACH' })
const isCut = () => file !== '' && existsSync(file)

/** Where a socket is told to go: `connect(options)`, `connect(port, host)`, or the list that node:net makes of either. */
function targetOf(args) {
  const [first, second] = Array.isArray(args[0]) ? args[0] : args
  if (typeof first !== 'object' || first === null) return `${String(second)}:${String(first)}`
  const { host, port } = first
  return `${String(host)}:${String(port)}`
}

const dial = Socket.prototype.connect
Object.assign(Socket.prototype, {
  connect(...args) {
    if (centre === '' || targetOf(args) !== centre) return dial.apply(this, args)
    if (isCut()) {
      process.nextTick(() => this.destroy(fault()))
      return this
    }
    open.add(this)
    this.once('close', () => open.delete(this))
    return dial.apply(this, args)
  },
})

setInterval(() => {
  if (open.size > 0 && isCut()) for (const one of open) one.destroy(fault())
}, lookMs).unref()
