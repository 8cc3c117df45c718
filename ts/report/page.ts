/** A self-contained HTML page: no script, no network. */
import { type Fragment, html, type Markup, Markup as Raw } from './markup.js'
import { STYLE } from './style.js'

export function page(title: string, body: Fragment): string {
  const document = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${new Raw(STYLE)}</style>
</head>
<body>
${body}
</body>
</html>
`
  return document.text
}

export function figure(drawing: Markup, caption: Fragment): Markup {
  return html`<figure>${drawing}<figcaption>${caption}</figcaption></figure>`
}

export function section(id: string, title: string, body: Fragment): Markup {
  return html`<section id="${id}"><h2>${title}</h2>${body}</section>`
}
