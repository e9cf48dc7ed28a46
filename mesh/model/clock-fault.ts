/**
 * What a peer's certificate that is out of its time says of two clocks, by Node's code of the failed handshake. Everything
 * is back-dated by minutes, so an honest certificate that is not valid yet is nearly always a clock that is off here.
 */
export const clockFaults: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'its certificate has expired, or the clock of this machine is ahead: set it (NTP)',
  CERT_NOT_YET_VALID: 'its certificate is not valid yet, or the clock of this machine is behind: set it (NTP)',
}
