// The strip of the last minute: one dot for each request, a column for each second.

export const seconds = 60

/**
 * Where each request's dot goes, in units of a canvas of `width` × `height`: requests of one second fill their column from
 * the bottom, `across` side by side, in the order of their times. Dots are as large as lets the busiest second fit.
 *
 * Requests older than a minute, or from after `now`, have no place. `now` is cut to whole seconds, so that all dots move
 * by one column once a second and stand still between.
 */
export function placeDots(requests, { now, width, height }) {
  const last = Math.floor(now / 1000)
  const columns = Array.from({ length: seconds }, () => [])
  for (const one of requests.toSorted((a, b) => a.atMs - b.atMs))
    columns[seconds - 1 - (last - Math.floor(one.atMs / 1000))]?.push(one)
  const most = Math.max(20, ...columns.map((column) => column.length))
  const pitch = width / seconds
  const { across, size } = dotSize(most, pitch - Math.min(2, pitch / 5), height)
  return columns.flatMap((column, n) =>
    column.map((one, at) => ({
      x: n * pitch + (at % across) * size,
      y: height - (Math.floor(at / across) + 1) * size,
      size,
      one,
    })),
  )
}

/** The largest dot of which `most` fit into a column. */
function dotSize(most, width, height) {
  let best = { across: 1, size: 0 }
  for (let across = 1; across <= most; across++) {
    const size = Math.min(width / across, height / Math.ceil(most / across))
    if (size > best.size) best = { across, size }
  }
  return best
}

/** Draws the dots: `colourOf` gives each request's colour. */
export function drawStrip(canvas, requests, now, colourOf) {
  const scale = globalThis.devicePixelRatio || 1
  const { clientWidth: width, clientHeight: height } = canvas
  const [w, h] = [Math.round(width * scale), Math.round(height * scale)]
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h })
  const pen = canvas.getContext('2d')
  pen.setTransform(scale, 0, 0, scale, 0, 0)
  pen.clearRect(0, 0, width, height)
  for (const { x, y, size, one } of placeDots(requests, { now, width, height })) {
    const gap = size > 3 ? size * 0.22 : size * 0.12
    pen.fillStyle = colourOf(one)
    pen.beginPath()
    pen.roundRect(x, y, size - gap, size - gap, (size - gap) / 2)
    pen.fill()
  }
}
