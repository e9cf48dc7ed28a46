'use strict'
// The entry point of the images: `isthmus <program> …`, each a file beside this one.
const { readdirSync } = require('node:fs')

const programs = readdirSync(__dirname).flatMap((file) => /^(.+)-program\.js$/.exec(file)?.[1] ?? [])
const [name = '--help'] = process.argv.splice(2, 1)
if (programs.includes(name)) require(`./${name}.js`)
else {
  const isHelp = name === '--help' || name === '-h'
  process[isHelp ? 'stdout' : 'stderr'].write(
    `${isHelp ? '' : `isthmus: "${name}" is no program of this image\n`}programs, each with --help: ${programs.join(', ')}\n`,
  )
  process.exitCode = isHelp ? 0 : 2
}
