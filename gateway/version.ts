/** The relay's version, as the centre and `isthmus version` show it. */
export const relayVersion = '0.1.0'
