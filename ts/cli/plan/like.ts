/** `prudent plan --like`: the rate at which finished runs got through the operations that the plan counts for them. */
import { join } from 'node:path'
import { loadConfig } from '../../config/load.js'
import { readJsonFile } from '../../data/tokenizer-files.js'
import { argumentError } from '../../errors.js'
import type { SeenRate } from '../../report/cost-tables.js'
import { readRunConfig } from '../../run/config-file.js'
import { type MetricsEntry, readMetrics } from '../../run/metrics.js'
import { TEMPLATE_TOKENS } from '../../study/cost/experiment.js'
import { type Shape, shapeOf } from '../../study/cost/shapes.js'
import { policyStepFlops, rewardFlops } from '../../study/cost/stages.js'
import { modelShape } from '../experiment/cost.js'
import { type PolicyRun, policyRun, type RewardRun, rewardRun } from '../train/schemas.js'

/** Numbers of one step. */
interface Work {
  tokens: number
  flops: number
}
type CountWork = (entry: MetricsEntry) => Work

/**
 * Of a run of `prudent train reward` or `train policy`: FLOPs and tokens by the plan's own counting, over the seconds of its steps.
 * @throws E_NOT_FOUND for a folder that holds no such run or not all of it
 */
export async function seenRate(folder: string, signal: AbortSignal): Promise<SeenRate> {
  const refuse = (received: string) =>
    argumentError(
      'E_NOT_FOUND',
      '--like',
      'the folder of a finished run of "prudent train reward" or "train policy"',
      `${folder}: ${received}`,
    )
  const file = join(folder, 'config.yaml')
  const config = await readRunConfig(file)
  if (config === null) throw refuse('it has no config.yaml')
  const { task } = config
  if (task !== 'reward' && task !== 'policy')
    throw refuse(task === undefined ? 'its config.yaml names no task' : `a run of another task (${task})`)
  const { entries } = await readMetrics(join(folder, 'metrics.jsonl'))
  if (entries.length === 0) throw refuse('no metrics.jsonl with a line')
  const timed = entries.filter((entry) => entry['time/step'] !== undefined)
  if (timed.length === 0) throw refuse('its metrics.jsonl has no time/step, the run is older than these')
  const model = await readJsonFile(join(folder, 'model', 'config.json'))
  if (model === null) throw refuse('no model/, the run is not finished')
  const own = shapeOf(model, join(folder, 'model', 'config.json'))
  const count =
    task === 'reward'
      ? rewardWork(await loadConfig(rewardRun, file), own)
      : await policyWork(await loadConfig(policyRun, file), own, signal)
  const works = timed.map(count)
  const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
  const seconds = sum(timed.map((entry) => entry['time/step'] as number))
  const tokens = sum(works.map((work) => work.tokens))
  const flops = sum(works.map((work) => work.flops))
  return { folder, task, steps: timed.length, seconds, tokens, flops }
}

function rewardWork({ training }: RewardRun, shape: Shape): CountWork {
  const sides = 2 * training.batchSize
  return (entry) => {
    const tokens = entry['train/tokens'] ?? Number.NaN
    return { tokens, flops: rewardFlops(shape, sides, tokens / sides) }
  }
}

async function policyWork(
  { ppo, scorer: settings }: PolicyRun,
  policy: Shape,
  signal: AbortSignal,
): Promise<CountWork> {
  const scorer = await modelShape(settings.model, 'scorer.model', signal)
  const policies = { batchSize: ppo.batchSize, epochs: ppo.ppoEpochs }
  return (entry) => {
    const prompt = entry['tokens/queries_len_mean'] ?? Number.NaN
    const response = entry['tokens/responses_len_mean'] ?? Number.NaN
    const tokens = { prompt, response, template: TEMPLATE_TOKENS }
    return {
      tokens: policies.batchSize * (prompt + response),
      flops: policyStepFlops({ policy, scorer, policies, tokens }),
    }
  }
}
