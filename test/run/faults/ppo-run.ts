/** A run of PPO over tiny models: `node ppo-run.js FOLDER` begins or goes on; the result hangs on every bit of a checkpoint. */
import { callNative } from '../../../ts/addon/call.js'
import { loadAddon } from '../../../ts/addon/load.js'
import { ppoSettings } from '../../../ts/policy/settings.js'
import { trainPolicy } from '../../../ts/policy/train-policy.js'
import type { Scorer } from '../../../ts/policy/types.js'
import { RunDirectory } from '../../../ts/run/run-directory.js'
import { checkpointModel } from '../../../ts/training/step-loop.js'
import { TINY } from '../../support/train-runs.js'

const VOCABULARY = 40
const CAUSAL = { task: 'causal-lm', dtype: 'float32', device: 'cpu' } as const
const SETTINGS = ppoSettings.parse({
  ...{ batchSize: 6, miniBatchSize: 3, ppoEpochs: 2, steps: 5, optimiser: { lr: 1e-2 } },
  // A controller, moments and an order that a checkpoint must hold beside weights and optimiser.
  kl: { initial: 0.3, adaptive: true, target: 0.1, horizon: 20 },
  score: { scale: true, normalise: true },
  sampling: { maxNewTokens: 5 },
  seed: 4,
})
const PROMPTS = Array.from({ length: 14 }, (_, row) => Int32Array.of(1 + row, 2 + ((row * 7) % 30)))

/** Rewards even ids. */
const scorer: Scorer = {
  async score(_prompts, responses) {
    const share = (ids: Int32Array) => ids.filter((id) => id % 2 === 0).length / ids.length
    return { values: Float32Array.from(responses, share), heads: 1, texts: [] }
  },
}

export async function ppoRun(folder: string): Promise<void> {
  await using run = await RunDirectory.open(folder, { config: { ppo: 'tiny' }, keep: 1 })
  if (await run.isDone()) return
  const checkpoint = await run.resume()
  const addon = loadAddon()
  const config = JSON.stringify({ ...TINY.gpt2, vocab_size: VOCABULARY, bos_token_id: 0, eos_token_id: 0 })
  const reference = await callNative(undefined, () => addon.createModel(config, { ...CAUSAL, seed: 9 }))
  const policy =
    checkpoint === null ? await reference.clone() : await addon.loadModel(checkpointModel(checkpoint), CAUSAL)
  try {
    if (!policy.info().hasValueHead) await policy.addValueHead(3)
    const prompts = { ids: PROMPTS, texts: PROMPTS.map(String) }
    const saving = { everySteps: 2, keep: 1 }
    await trainPolicy({
      policy,
      reference,
      scorer,
      prompts,
      settings: SETTINGS,
      eosTokenIds: [0],
      run,
      checkpoint,
      saving,
    })
    await run.saveModel((into) => policy.save(into))
  } finally {
    await policy.dispose()
    await reference.dispose()
  }
}

if (process.argv[1]?.endsWith('ppo-run.js')) {
  await ppoRun(process.argv[2] as string).catch((error) => {
    process.stderr.write(`${error.code}: ${error.message}\n`)
    process.exitCode = 1
  })
}
