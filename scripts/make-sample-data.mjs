#!/usr/bin/env node
/**
 * Writes the laptop study's sample data: node scripts/make-sample-data.mjs [--output examples/laptop/data] [--seed 20]
 * The same seed gives the same bytes. Needs the compiled TypeScript (npm run build): the true reward is defined there, once.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { SHAPES, toParquet } from './world/parquet.mjs'
import { drawPairs } from './world/preferences.mjs'
import { createRandom } from './world/random.mjs'
import { drawPriorSets, drawRewardBench } from './world/reward-bench.mjs'
import { drawPreferenceStyle, drawReview, drawUniformStyle } from './world/texts.mjs'
import { countWords, policyTokenizer, scorerTokenizer } from './world/tokenizers.mjs'
import { trueRewardDefinition } from './world/words.mjs'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const { values: options } = parseArgs({
  options: {
    output: { type: 'string', default: path.join(root, 'examples/laptop/data') },
    seed: { type: 'string', default: '20' },
  },
})
const SIZES = { train: 4000, test: 1200, pairs: 6600, judgePairs: 3000 }
const ALL_MERGES = 4096

async function importTrueReward() {
  try {
    return await import('../dist/ts/study/world/true-reward.js')
  } catch {
    console.error('the TypeScript is not compiled: run npm run build first')
    process.exit(1)
  }
}

/** A stream of its own for each file, so that a change in one leaves the others as they are. */
const stream = (number) => createRandom(Number(options.seed) * 1000 + number)

function drawReviews(random, rows, trueReward) {
  return Array.from({ length: rows }, () => {
    const text = drawReview(random)
    return { text, label: trueReward.reward(text) > 0 ? 1 : 0 }
  })
}

const json = (value) => Buffer.from(`${JSON.stringify(value, null, 1)}\n`)

async function makeFiles() {
  const { createTrueReward } = await importTrueReward()
  const definition = trueRewardDefinition()
  const trueReward = createTrueReward(definition)
  const train = drawReviews(stream(1), SIZES.train, trueReward)
  const pairs = drawPairs(stream(3), SIZES.pairs, drawPreferenceStyle, trueReward)
  const reviews = train.map((review) => review.text)
  const messages = pairs.flatMap((pair) => [...pair.chosen, ...pair.rejected]).map((message) => message.content)
  const files = {
    'true-reward.json': json(definition),
    'imdb/train.parquet': toParquet(train, SHAPES.reviews),
    'imdb/test.parquet': toParquet(drawReviews(stream(2), SIZES.test, trueReward), SHAPES.reviews),
    'preferences/train.parquet': toParquet(pairs, SHAPES.preferences),
    'judge-preferences/train.parquet': toParquet(
      drawPairs(stream(4), SIZES.judgePairs, drawUniformStyle, trueReward),
      SHAPES.preferences,
    ),
    'reward-bench/filtered.parquet': toParquet(drawRewardBench(stream(5), trueReward), SHAPES.rewardBench),
    'pref-test-sets/test.parquet': toParquet(drawPriorSets(stream(6), trueReward), SHAPES.rewardBench),
  }
  const tokenizers = {
    policy: policyTokenizer(countWords(reviews), ALL_MERGES),
    scorer: scorerTokenizer(countWords([...reviews, ...messages]), ALL_MERGES),
  }
  for (const [folder, tokenizer] of Object.entries(tokenizers)) {
    for (const [name, value] of Object.entries(tokenizer)) files[`tokenizers/${folder}/${name}`] = json(value)
  }
  return files
}

for (const [name, bytes] of Object.entries(await makeFiles())) {
  const file = path.join(options.output, name)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, bytes)
  console.log(`${String(bytes.length).padStart(8)}  ${path.relative(process.cwd(), file)}`)
}
