/** The data sets of the paper as the hub holds them, in small: files, splits, columns and types; rows are drawn from a seed. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Random } from '../../../ts/data/random.js'
import type { HubFile, HubRepository } from '../hub-server.js'

/** The schemas that `datasets` writes, nested lists among them; scripts/ is no part of the compiled tests. */
const { SHAPES, toParquet } = (await import(pathToFileURL(join('scripts', 'world', 'parquet.mjs')).href)) as {
  SHAPES: Record<'reviews' | 'preferences' | 'rewardBench' | 'priorSets', unknown>
  toParquet(rows: readonly object[], shape: unknown): Buffer
}

const text = (content: string): HubFile => ({ content: Buffer.from(content) })
const parquet = (shape: keyof typeof SHAPES, rows: readonly object[]): HubFile => ({
  content: toParquet(rows, SHAPES[shape]),
  lfs: true,
})
const repeat = <Row>(count: number, make: (index: number) => Row): Row[] =>
  Array.from({ length: count }, (_, i) => make(i))
const shard = (split: string, index: number, count: number) =>
  `${split}-${String(index).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.parquet`

const WORDS = 'a the film movie plot actor scene good bad great dull bright slow fast story end was is and very'.split(
  ' ',
)

class Writer {
  readonly #random: Random

  constructor(name: string) {
    this.#random = Random.from(20, 'hub fixtures', name)
  }
  sentence(words: number): string {
    return Array.from({ length: words }, () => WORDS[this.#random.integer(0, WORDS.length)]).join(' ')
  }
  messages(prompt: string, turns: number) {
    const said = Array.from({ length: turns }, (_, turn) => ({
      content: turn === 0 ? prompt : this.sentence(6),
      role: turn % 2 === 0 ? 'user' : 'assistant',
    }))
    return [...said, { content: this.sentence(8), role: 'assistant' }]
  }
}

const MESSAGE_LIST = 'list: [{ name: content, dtype: string }, { name: role, dtype: string }]'

function readme(
  features: string,
  splits: readonly string[],
  path: (split: string) => string,
  config = 'default',
): HubFile {
  const files = splits.map((split) => `  - split: ${split}\n    path: ${path(split)}\n`).join('')
  return text(
    `---\ndataset_info:\n  features:\n${features}configs:\n- config_name: ${config}\n  data_files:\n${files}---\n`,
  )
}

/** weqweasdas/preference_dataset_mix2: whole conversations of { content, role } on both sides, several shards of one split. */
export function preferenceMix2(): HubRepository {
  const writer = new Writer('mix2')
  const files: HubRepository['files'] = {}
  for (let index = 0; index < 3; index++) {
    const rows = repeat(12, (row) => {
      const prompt = writer.sentence(5)
      const turns = row % 4 === 0 ? 3 : 1
      return { chosen: writer.messages(prompt, turns), rejected: writer.messages(prompt, turns) }
    })
    files[`data/${shard('train', index, 3)}`] = parquet('preferences', rows)
  }
  const features = `  - name: chosen\n    ${MESSAGE_LIST}\n  - name: rejected\n    ${MESSAGE_LIST}\n`
  return {
    type: 'dataset',
    name: 'weqweasdas/preference_dataset_mix2',
    commit: 'e1'.repeat(20),
    branch: 'main',
    files: { 'README.md': readme(features, ['train'], (split) => `data/${split}-*`), ...files },
  }
}

/** stanfordnlp/imdb: configuration plain_text with three splits, int64 labels, -1 where there is none. */
export function imdb(): HubRepository {
  const writer = new Writer('imdb')
  // Every third review is too short: prompts are cut from texts of more than 200 characters.
  const split = (rows: number, label: (row: number) => number) =>
    parquet(
      'reviews',
      repeat(rows, (row) => ({ text: writer.sentence(row % 3 === 0 ? 20 : 90), label: label(row) })),
    )
  const features =
    '  - name: text\n    dtype: string\n  - name: label\n    dtype: { class_label: { names: { 0: neg, 1: pos } } }\n'
  const splits = ['train', 'test', 'unsupervised']
  return {
    type: 'dataset',
    name: 'stanfordnlp/imdb',
    formerName: 'imdb',
    commit: 'e6281661ce1c48d982bc483cf8a173c1bbeb5d31',
    branch: 'main',
    files: {
      'README.md': readme(features, splits, (name) => `plain_text/${name}-*`, 'plain_text'),
      [`plain_text/${shard('test', 0, 1)}`]: split(12, (row) => row % 2),
      [`plain_text/${shard('train', 0, 1)}`]: split(48, (row) => row % 2),
      [`plain_text/${shard('unsupervised', 0, 1)}`]: split(6, () => -1),
    },
  }
}

const SUBSETS = [
  'alpacaeval-easy',
  'mt-bench-hard',
  'refusals-dangerous',
  'xstest-should-respond',
  'math-prm',
  'hep-python',
]

/** allenai/reward-bench: texts, the models that wrote them, subset and a numbered id; splits `raw` and `filtered`. */
export function rewardBench(): HubRepository {
  const writer = new Writer('reward-bench')
  const split = (rows: number) =>
    parquet(
      'rewardBench',
      repeat(rows, (row) => ({
        prompt: writer.sentence(7),
        chosen: writer.sentence(7),
        chosen_model: 'GPT4-Turbo',
        rejected: writer.sentence(7),
        rejected_model: 'alpaca-7b',
        subset: SUBSETS[row % SUBSETS.length],
        id: row + 30,
      })),
    )
  const names = ['prompt', 'chosen', 'chosen_model', 'rejected', 'rejected_model', 'subset']
  const features =
    names.map((name) => `  - name: ${name}\n    dtype: string\n`).join('') + '  - name: id\n    dtype: int64\n'
  return {
    type: 'dataset',
    name: 'allenai/reward-bench',
    commit: 'd61ac5c97d0f2f7eb922da3c0b6bbaf614ae8d02',
    branch: 'main',
    files: {
      'README.md': readme(features, ['raw', 'filtered'], (name) => `data/${name}-*`),
      [`data/${shard('filtered', 0, 1)}`]: split(12),
      [`data/${shard('raw', 0, 1)}`]: split(18),
    },
  }
}

export const PRIOR_SPLITS = [
  'anthropic_harmless',
  'anthropic_helpful',
  'summarize',
  'pku_better',
  'pku_safer',
  'shp',
  'anthropic_hhh',
  'mtbench_human',
  'mtbench_gpt4',
]

/** allenai/pref-test-sets: one split a test set, the prompt a list of messages, the responses texts. */
export function prefTestSets(): HubRepository {
  const writer = new Writer('pref-test-sets')
  const files: HubRepository['files'] = {}
  for (const split of PRIOR_SPLITS) {
    const rows = repeat(4, (row) => ({
      prompt: writer.messages(writer.sentence(6), row % 2 === 0 ? 1 : 3).slice(0, -1),
      chosen: writer.sentence(6),
      rejected: writer.sentence(6),
      subset: split,
      id: row,
    }))
    files[`data/${shard(split, 0, 1)}`] = parquet('priorSets', rows)
  }
  const strings = ['chosen', 'rejected', 'subset'].map((name) => `  - name: ${name}\n    dtype: string\n`).join('')
  const features = `  - name: prompt\n    ${MESSAGE_LIST}\n${strings}  - name: id\n    dtype: int64\n`
  return {
    type: 'dataset',
    name: 'allenai/pref-test-sets',
    commit: '0d1fa41a9c6fd7b4a2e35e7b84ad42a60c2b0f01',
    branch: 'main',
    files: { 'README.md': readme(features, PRIOR_SPLITS, (split) => `data/${split}-*`), ...files },
  }
}
