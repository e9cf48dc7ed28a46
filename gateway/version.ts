/** The relay's version, as the centre and `isthmus version` show it. */
export { version as relayVersion } from '#mesh/model/version.ts'
