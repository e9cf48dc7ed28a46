/**
 * Makes `old` equal to `next` by changing only what differs, so that nothing flickers and the keyboard's focus, opened
 * details and what is selected stay. Children go by their place, or by `data-key` where they have one.
 */
export function morph(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) return void old.replaceWith(next)
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data
    return
  }
  for (const { name } of [...old.attributes])
    if (!next.hasAttribute(name) && !(name === 'open' && old.nodeName === 'DETAILS')) old.removeAttribute(name)
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  const wanted = [...next.childNodes]
  const keyOf = (node) => node.dataset?.key
  const keyed = new Map([...old.childNodes].filter(keyOf).map((node) => [keyOf(node), node]))
  for (const [at, child] of wanted.entries()) {
    const here = old.childNodes[at]
    const same = keyOf(child) === undefined ? here : keyed.get(keyOf(child))
    if (same && keyOf(same) === keyOf(child)) {
      if (same !== here) old.insertBefore(same, here ?? null)
      morph(same, child)
    } else old.insertBefore(child, here ?? null)
  }
  while (old.childNodes.length > wanted.length) old.lastChild.remove()
}

/** The same for what is inside an element, from HTML. */
export function morphInside(element, html) {
  const next = element.cloneNode(false)
  next.innerHTML = html
  morph(element, next)
}
