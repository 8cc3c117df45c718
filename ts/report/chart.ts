/** A Vega-Lite specification to an SVG string, without a canvas and without network. */
import type { TopLevelSpec } from 'vega-lite'
import { Markup } from './markup.js'

/** The paper's figure 7: the reference in indigo, vanilla in cyan, variance-aware in red. Readable on light and dark ground. */
export const COLOURS = {
  reference: '#6366d8',
  vanilla: '#0e97a7',
  sigma: '#d94a4a',
  'sigma-variance': '#a83268',
  'sigma-exact': '#e0763c',
  shuffled: '#b7791f',
  constant: '#7a7f87',
  mean: '#3f8f4f',
  worst: '#6b8e23',
  'mean-variance': '#2f7d6d',
  lcb: '#9a4fb3',
} as const

/** Of methods that only their names are known of, in their order; the baseline has vanilla's colour. */
export const GROUP_COLOURS = [
  COLOURS.vanilla,
  COLOURS.sigma,
  COLOURS.shuffled,
  COLOURS.mean,
  COLOURS.lcb,
  COLOURS.constant,
]

const INK = '#7a828e'

const CONFIG = {
  background: 'transparent',
  font: 'system-ui, sans-serif',
  view: { stroke: 'transparent' },
  axis: {
    labelColor: INK,
    titleColor: INK,
    tickColor: INK,
    domainColor: INK,
    gridColor: INK,
    gridOpacity: 0.18,
    titleFontWeight: 500,
  },
  legend: { labelColor: INK, titleColor: INK, orient: 'top', title: null, labelLimit: 0, columns: 3, symbolOpacity: 1 },
  header: { labelColor: INK, titleColor: INK, labelFontSize: 12, labelFontWeight: 600 },
  title: { color: INK },
} as const

/** Loaded once and one after the other, on first use: a report is the only thing that needs a megabyte of plotting. */
let loading: Promise<{ vega: typeof import('vega'); compile: typeof import('vega-lite').compile }> | undefined
function renderer() {
  loading ??= (async () => ({ vega: await import('vega'), compile: (await import('vega-lite')).compile }))()
  return loading
}

/** `label` is what a screen reader says. */
export async function chart(label: string, spec: TopLevelSpec): Promise<Markup> {
  const { vega, compile } = await renderer()
  const compiled = compile({ ...spec, config: CONFIG } as TopLevelSpec, { logger: silent() }).spec
  const view = new vega.View(vega.parse(compiled), { renderer: 'none', logLevel: vega.Error })
  try {
    const svg = await view.toSVG()
    const text = label.replace(/[<>&"]/g, ' ')
    return new Markup(`<div class="scroll">${svg.replace('<svg ', `<svg role="img" aria-label="${text}" `)}</div>`)
  } finally {
    view.finalize()
  }
}

function silent() {
  const logger = {
    level: () => logger,
    warn: () => logger,
    info: () => logger,
    debug: () => logger,
    error: () => logger,
  }
  return logger as never
}
