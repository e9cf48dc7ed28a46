import { builtByGo, findGo } from '#tests/support/go-program.ts'

/**
 * The path of what does iptables' work in tests: a bare machine has none, and its kernel does the rest. As
 * `ip6tables-restore`, under that name, it is for IPv6.
 */
export async function iptablesRestore(): Promise<string> {
  const go = findGo()
  if (go === undefined) throw new Error('there is no Go to build tests/support/go/iptables-restore.go with')
  return await builtByGo(go, 'iptables-restore')
}
