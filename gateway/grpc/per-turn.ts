/**
 * Begins at most `max` of what comes, in its order, in each turn of the event loop; whatever else is due has its turn in
 * between. What a connection holds while it begins is then held by some and not by all that dial at once.
 */
export function perTurn<T>(max: number, begin: (one: T) => void): (one: T) => void {
  let waiting: T[] = []
  let begun = 0
  const turn = () => {
    begun = 0
    const now = waiting.slice(0, max)
    waiting = waiting.slice(max)
    for (const one of now) start(one)
  }
  const start = (one: T) => {
    if (begun === 0) setImmediate(turn)
    begun += 1
    begin(one)
  }
  return (one) => {
    if (waiting.length > 0 || begun >= max) waiting.push(one)
    else start(one)
  }
}
