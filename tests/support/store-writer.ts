import { writeSync } from 'node:fs'
import { saveMesh } from '#control/store/meshes.ts'
import { append } from '#control/store/stream-writes.ts'
import { parseMeshName } from '#mesh/model/id.ts'
import { openTestDatabase } from '#tests/support/stores.ts'

/** Run as a program, to be killed: writes for ever to the database in argv[2], and says each number once it is stored. */
const db = await openTestDatabase({ dir: process.argv[2] ?? '' })
for (let n = Number(process.argv[3] ?? 1); ; n++) {
  await db.transact(async (tx) => {
    await saveMesh(tx, parseMeshName(`m${n}`), n)
    await append(
      tx,
      { mesh: 'crash', stream: 'adv/crash' },
      [
        { key: `k${n % 50}`, body: { n } },
        { key: `gone${n % 7}`, body: n % 2 === 0 ? undefined : { n } },
      ],
      n,
    )
  })
  writeSync(1, `${n}\n`)
}
