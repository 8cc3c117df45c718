/** The page's style: one column, readable on a phone and on a desktop, in light and dark. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1d2128; --soft: #5a6270; --line: #d9dde3; --ground: #ffffff; --panel: #f5f6f8;
  --good: #1f7a45; --bad: #b3362f; --unsure: #9a6a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ec; --soft: #9aa3b0; --line: #343a44; --ground: #14171c; --panel: #1c2027;
  --good: #5ec98b; --bad: #ef8078; --unsure: #e0b34d; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.4em 0; }
h2 { font-size: 1.25rem; margin: 2.4em 0 0.5em; padding-top: 0.6em; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6em 0 0.4em; }
p, li { max-width: 46rem; } p, li, figcaption { overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: 0.92rem; }
.verdict { background: var(--panel); border-left: 5px solid var(--unsure); padding: 0.8rem 1.1rem; border-radius: 4px; }
.verdict.holds { border-color: var(--good); } .verdict.fails { border-color: var(--bad); }
.verdict strong { font-size: 1.15rem; }
.holds > .word, .passed { color: var(--good); } .fails > .word, .failed { color: var(--bad); }
.scroll { overflow-x: auto; }
figure { margin: 1rem 0; } svg { max-width: none; height: auto; }
table { border-collapse: collapse; font-size: 0.9rem; margin: 0.6rem 0; }
th, td { text-align: left; padding: 0.32rem 0.8rem 0.32rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
#paper td { min-width: 7rem; } #paper td:first-child { min-width: 0; white-space: nowrap; }
pre { background: var(--panel); padding: 0.8rem 1rem; overflow-x: auto; font-size: 0.82rem; border-radius: 4px; }
code { font-size: 0.9em; } details > summary { cursor: pointer; color: var(--soft); }
nav a { margin-right: 0.9rem; color: inherit; }
`
