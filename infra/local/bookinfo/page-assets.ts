/** The page's style: one column on a phone, light and dark as the machine is set. No font or file from elsewhere. */
export const style = `
:root{color-scheme:light dark;--ink:light-dark(#1d1f23,#e8e6e1);--soft:light-dark(#5d6169,#a3a8b1);--line:light-dark(#e2dfd8,#343840);
--card:light-dark(#fff,#1d2026);--bad:light-dark(#b3261e,#ff8a80);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
*{box-sizing:border-box}
body{max-width:66rem;margin:0 auto;padding:clamp(1rem,4vw,2.5rem);background:light-dark(#f7f5f0,#131519);color:var(--ink)}
.kicker{margin:0;color:var(--soft);font-size:.85rem}
h1{margin:.1rem 0 .3rem;font:600 clamp(1.8rem,5vw,2.7rem)/1.15 Georgia,"Times New Roman",serif}
.lead{margin:0 0 1.6rem;max-width:44rem;color:var(--soft)}
h2{margin:0 0 .7rem;font-size:1.05rem}
.hops{list-style:none;margin:0 0 1.2rem;padding:0;display:grid;gap:.8rem;grid-template-columns:repeat(auto-fill,minmax(min(14.5rem,100%),1fr))}
.hop{--c:light-dark(hsl(var(--hue) 65% 33%),hsl(var(--hue) 70% 70%));position:relative;background:var(--card);border:1px solid var(--line);
border-top:4px solid var(--c);border-radius:.6rem;padding:.7rem .9rem .8rem}
.hop i{font-style:normal;font-weight:400;color:var(--soft)}.hop p{margin:.1rem 0 .5rem}
.cluster{font-size:1.15rem;font-weight:600;color:var(--c)}
.ms{position:absolute;right:.9rem;top:.75rem;color:var(--soft);font-size:.85rem;font-variant-numeric:tabular-nums}
.hop dl{margin:0;font-size:.78rem;line-height:1.4}.hop dt{color:var(--soft)}
.hop dd{margin:0;font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}.hop .plain{font-family:inherit}
.hop dd span{display:inline-block;max-width:100%}
.down{--c:var(--bad)}.down .why{color:var(--bad);font-size:.85rem;overflow-wrap:anywhere}
.columns{display:grid;gap:.8rem;grid-template-columns:repeat(auto-fit,minmax(min(20rem,100%),1fr))}
section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1.1rem 1.2rem}
.facts{margin:0;display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.2rem}.facts dt{color:var(--soft)}.facts dd{margin:0}
blockquote{margin:0 0 .9rem;padding-left:.9rem;border-left:3px solid var(--line)}blockquote footer{color:var(--soft);font-size:.9rem}
.stars{letter-spacing:.06em}.stars.red{color:light-dark(#c62828,#ff8a80)}.stars.black{color:var(--ink)}
.note,small{color:var(--soft);font-size:.85rem;margin:0}.failed{color:var(--bad);margin:0 0 .5rem}.failed small{display:block;overflow-wrap:anywhere}
body>footer{margin-top:1.2rem;display:flex;flex-wrap:wrap;gap:.6rem 1.2rem;align-items:end;color:var(--soft);font-size:.9rem}
#views{list-style:none;margin:0;padding:0;display:flex;gap:2px;align-items:end;height:2.2rem;flex:1 1 12rem;overflow:hidden;justify-content:flex-end}
#views li{flex:none;width:5px;min-height:3px;border-radius:2px 2px 0 0;background:light-dark(hsl(var(--hue) 62% 45%),hsl(var(--hue) 70% 65%))}
#views li.bad{background:var(--bad);height:100%}`

/** Asks again once a second while the box is ticked, and draws a bar for each view in the colour of reviews' cluster. */
export const script = `
const box = document.getElementById('live'), bars = document.getElementById('views')
const bar = (height, hue, title) => {
  const li = document.createElement('li')
  if (hue) li.style.setProperty('--hue', hue); else li.className = 'bad'
  if (hue) li.style.height = Math.min(100, 8 + height) + '%'
  li.title = title
  bars.append(li)
  while (bars.children.length > 120) bars.firstChild.remove()
}
async function again() {
  const began = performance.now()
  try {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(20000) })
    const next = new DOMParser().parseFromString(await answer.text(), 'text/html')
    for (const part of ['main', '.kicker']) document.querySelector(part).replaceWith(next.querySelector(part))
    const ms = Math.round(performance.now() - began)
    const hue = document.querySelector('.down') ? '' : document.querySelectorAll('.hop')[2].style.getPropertyValue('--hue')
    bar(ms / 4, hue, ms + ' ms, ' + document.querySelector('.kicker').textContent)
  } catch (error) { bar(100, '', String(error)) }
  if (box.checked) setTimeout(again, 1000)
}
box.addEventListener('change', () => box.checked && again())`
