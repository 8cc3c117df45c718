/** The page at /: one document that loads nothing else, under a policy that lets it run its own script and ask its own server. */
import { createHash } from 'node:crypto'
import { pageScript } from './page-script.js'

const style = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; --a: light-dark(#1f5fa8, #7db4f0); --b: light-dark(#b04a00, #f0a35e); }
body { max-width: 720px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; }
label { display: block; margin-top: 1rem; font-weight: 600; }
textarea { width: 100%; box-sizing: border-box; font: inherit; padding: .5rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 0 1rem; }
button { margin: 1rem 0; padding: .5rem 1.2rem; font: inherit; }
svg { width: 100%; height: auto; }
svg text { fill: currentColor; font-size: 13px; }
.axis { stroke: currentColor; opacity: .25; }
.dot { fill-opacity: .65; }
.A { --own: var(--a); } .B { --own: var(--b); }
.dot { fill: var(--own); } .mean { stroke: var(--own); stroke-width: 2; } .bar { stroke: var(--own); stroke-width: 4; }
.end { text-anchor: end; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
td, th { padding: .2rem .6rem; text-align: right; white-space: nowrap; }
`

const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>prudent: compare two responses</title>
<style>${style}</style>
</head>
<body>
<h1>Two responses, every head's score</h1>
<form id="form">
<label for="prompt">Prompt</label>
<textarea id="prompt" rows="3" required></textarea>
<div class="pair">
<div><label for="a">Response A</label><textarea id="a" rows="5" required></textarea></div>
<div><label for="b">Response B</label><textarea id="b" rows="5" required></textarea></div>
</div>
<button id="ask">Score</button>
</form>
<p id="message" role="status"></p>
<svg id="plot" role="img" aria-label="A dot for each head's score of either response; the upright line is the mean, the bar one standard deviation"></svg>
<div class="scroll"><table id="table"></table></div>
<script>${pageScript}</script>
</body>
</html>
`

const hashOf = (text: string) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`

const policy = [
  "default-src 'none'",
  `script-src ${hashOf(pageScript)}`,
  `style-src ${hashOf(style)}`,
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ')

export const page = {
  html,
  headers: {
    'content-security-policy': policy,
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
  },
}
