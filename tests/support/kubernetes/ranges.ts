/** The n-th address of a range: `10.96.0.0/16`, 1 → `10.96.0.1`. */
export function nth(cidr: string, n: number): string {
  const [a = 0, b = 0, c = 0, d = 0] = (cidr.split('/')[0] ?? '').split('.').map(Number)
  const whole = ((a * 256 + b) * 256 + c) * 256 + d + n
  return [24, 16, 8, 0].map((bits) => Math.floor(whole / 2 ** bits) % 256).join('.')
}
