import { join } from 'node:path'
import { loadConfig } from '../../config/load.js'
import { PrudentError } from '../../errors.js'
import { type SourcesReport, sourcesHtml, sourcesMarkdown } from '../../report/sources-report.js'
import { writeFileAtomic } from '../../run/atomic-files.js'
import { comparedLayers, compareSources } from '../../uncertainty/comparison/compare.js'
import { type ComparisonConfig, comparisonConfig, nameOf } from '../../uncertainty/comparison/config.js'
import { randomFeatures } from '../../uncertainty/comparison/random-features.js'
import { splitSigma } from '../../uncertainty/comparison/split.js'
import { cacheLayers } from '../../uncertainty/fit.js'
import type { LayerFeatures } from '../../uncertainty/layers.js'
import type { SourcesOptions } from '../evaluate.js'
import { withOutput } from '../support/output-folder.js'
import type { Session } from '../support/session.js'
import { loadPairs } from '../train/pairs.js'
import { openModel, resolveWithTokenizer } from '../train/start.js'

/** `prudent evaluate sources`. */
export async function runSources(session: Session, options: SourcesOptions): Promise<void> {
  const config = await loadConfig(comparisonConfig, options.config, { set: options.set ?? [] })
  process.stdout.write(await makeSources(session, config, options.output))
}

/** Writes summary.json, report.md and report.html; returns the report in Markdown. */
export async function makeSources(session: Session, config: ComparisonConfig, output: string): Promise<string> {
  checkNames(config)
  return withOutput(output, async () => {
    const started = performance.now()
    const base = await openBase(session, config)
    const featureSeconds = (performance.now() - started) / 1000
    try {
      const report = await measured(session, config, base, featureSeconds)
      const write = (file: string, text: string) => writeFileAtomic(join(output, file), text)
      await write('summary.json', `${JSON.stringify({ kind: 'sources', version: 1, ...report, config }, null, 2)}\n`)
      const markdown = sourcesMarkdown(report)
      await write('report.md', markdown)
      await write('report.html', await sourcesHtml(report))
      return markdown
    } finally {
      for (const { features, heldOut } of base.layers) {
        await features.cache.dispose()
        await heldOut?.cache.dispose()
      }
    }
  })
}

interface Base {
  description: string
  layers: LayerFeatures[]
}

async function measured(
  session: Session,
  config: ComparisonConfig,
  { description, layers }: Base,
  featureSeconds: number,
): Promise<SourcesReport> {
  const { signal } = session
  const last = layers.at(-1) as LayerFeatures
  const started = (name: string) => session.note(`fitting ${name}`)
  const sources = await compareSources(config, layers, { signal, started })
  const bar = config.split === false ? null : session.progress('steps of the grid', 1)
  try {
    const progress = (done: number, total: number) => bar?.update(done, total)
    const split =
      config.split === false ? null : await splitSigma(config.split, config.training, last, { signal, progress })
    const { hidden } = last.features.cache.info()
    const size = { hidden, trainPairs: last.features.chosen.length, heldOutPairs: last.heldOut?.chosen.length ?? 0 }
    const { bootstrap, level, seed } = config
    return { base: { description, ...size, featureSeconds }, bootstrap, level, seed, sources, split }
  } finally {
    bar?.stop()
  }
}

function checkNames({ sources }: ComparisonConfig): void {
  const names = sources.map(nameOf)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined)
    throw new PrudentError('E_CONFIG', `sources: ${twice} stands there twice; give each a name of its own`, {
      argument: 'sources',
    })
}

async function openBase(session: Session, config: ComparisonConfig): Promise<Base> {
  if ('random' in config.model) {
    const { random } = config.model
    if (comparedLayers(config.sources, 1).length > 1)
      throw new PrudentError('E_CONFIG', 'sources: random features have one layer; layers needs a model', {
        argument: 'sources',
      })
    session.note(`drawing random features of ${random.pairs + random.heldOut} pairs`)
    const layer = await randomFeatures(random, session.signal)
    return { description: `random features, not a model's: ${JSON.stringify(random)}`, layers: [layer] }
  }
  if (config.data === undefined)
    throw new PrudentError('E_CONFIG', 'data: expected preference pairs to train and measure on, received none', {
      argument: 'data',
    })
  const { folder, tokenizer } = await resolveWithTokenizer(session, config.model, config.tokenizer)
  const pairs = await loadPairs(session, config.data, config.heldOut, tokenizer)
  const { dtype, device } = config
  const model = await openModel(session, folder, { task: 'sequence-classification', dtype, device })
  try {
    const layers = comparedLayers(config.sources, model.info().layers)
    const options = { ...config.training, layers, signal: session.signal }
    session.note('features of the frozen base')
    const own = await cacheLayers(model, pairs.train, options)
    const held = await cacheLayers(model, pairs.heldOut, options)
    return {
      description: `${config.model.path}, frozen`,
      layers: layers.map((layer, index) => ({
        layer,
        features: own[index] as LayerFeatures['features'],
        heldOut: held[index],
      })),
    }
  } finally {
    await model.dispose()
  }
}
