/**
 * The script of the page, as text: it runs in the browser, not here. It asks for the scores of two responses and draws a dot a head.
 */
export const pageScript = String.raw`
'use strict'
const base = location.pathname.replace(/\/$/, '')
const byId = (id) => document.getElementById(id)
const form = byId('form')
const message = byId('message')
const plot = byId('plot')
const table = byId('table')
const SVG = 'http://www.w3.org/2000/svg'
const WIDTH = 640
const LEFT = 90
const ROW = 70

form.addEventListener('submit', async (event) => {
  event.preventDefault()
  message.textContent = 'Scoring …'
  byId('ask').disabled = true
  try {
    show(await ask())
  } catch (error) {
    plot.replaceChildren()
    table.replaceChildren()
    message.textContent = error.message
  }
  byId('ask').disabled = false
})

async function ask() {
  const body = { prompt: byId('prompt').value, response: [byId('a').value, byId('b').value] }
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(base + '/score', { method: 'POST', headers, body: JSON.stringify(body) })
  const json = await answer.json()
  if (!answer.ok) throw new Error(json.error.message)
  return json.data.map((item) => item.uncertainty)
}

function show([a, b]) {
  const wins = a.heads.filter((score, head) => score > b.heads[head]).length
  const lead = a.mean - b.mean
  message.textContent =
    (lead === 0 ? 'The means are equal' : 'Response ' + (lead > 0 ? 'A' : 'B') + ' leads by ' + number(Math.abs(lead))) +
    '; ' + wins + ' of ' + a.heads.length + ' heads prefer A.'
  draw([['A', a], ['B', b]])
  list([['A', a], ['B', b]])
}

function draw(rows) {
  const all = rows.flatMap(([, row]) => row.heads)
  const low = Math.min(...all)
  const span = Math.max(...all) - low || 1
  const x = (score) => LEFT + ((score - low) / span) * (WIDTH - LEFT - 20)
  const height = rows.length * ROW + 30
  plot.setAttribute('viewBox', '0 0 ' + WIDTH + ' ' + height)
  plot.replaceChildren()
  rows.forEach(([name, row], at) => {
    const y = at * ROW + ROW / 2
    element('text', { x: 8, y: y + 5, class: 'name ' + name }, 'Response ' + name)
    element('line', { x1: LEFT, x2: WIDTH - 20, y1: y, y2: y, class: 'axis' })
    if (row.std !== null)
      element('line', { x1: x(clamp(row.mean - row.std)), x2: x(clamp(row.mean + row.std)), y1: y + 18, y2: y + 18, class: 'bar ' + name })
    element('line', { x1: x(row.mean), x2: x(row.mean), y1: y - 16, y2: y + 24, class: 'mean ' + name })
    row.heads.forEach((score, head) => {
      const dot = element('circle', { cx: x(score), cy: y, r: 6, class: 'dot ' + name, 'data-head': head, 'data-score': score })
      element('title', {}, 'head ' + head + ': ' + number(score), dot)
    })
  })
  element('text', { x: LEFT, y: height - 8, class: 'tick' }, number(low))
  element('text', { x: WIDTH - 20, y: height - 8, class: 'tick end' }, number(low + span))

  function clamp(score) {
    return Math.min(low + span, Math.max(low, score))
  }
}

function element(name, attributes, text, parent = plot) {
  const made = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  if (text !== undefined) made.textContent = text
  parent.append(made)
  return made
}

function list(rows) {
  table.replaceChildren()
  const heads = rows[0][1].heads.map((_, head) => 'head ' + head)
  line('th', ['', 'mean', 'std', ...heads])
  for (const [name, row] of rows)
    line('td', ['Response ' + name, number(row.mean), row.std === null ? 'one head' : number(row.std), ...row.heads.map(number)])
}

function line(kind, cells) {
  const row = table.insertRow()
  for (const text of cells) row.appendChild(document.createElement(kind)).textContent = text
}

function number(value) {
  return value.toPrecision(3)
}
`
