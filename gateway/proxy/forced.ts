import type { Forced } from '#gateway/proxy/keep-certificate.ts'

/** Which certificate the relay wants renewed, and when this proxy does it. */
export type ForcedRenewal = Forced & {
  /** The first word about a certificate counts: looking again must not put it off. */
  renew(serial: string, at: Date): void
}

export function forcedRenewal(): ForcedRenewal {
  const listeners = new Set<() => void>()
  let wanted: { readonly serial: string; readonly at: Date } | undefined
  return {
    at: (serial) => (wanted?.serial === serial ? wanted.at : undefined),
    onChange: (listener) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    renew: (serial, at) => {
      if (wanted?.serial === serial) return
      wanted = { serial, at }
      for (const listener of [...listeners]) listener()
    },
  }
}
