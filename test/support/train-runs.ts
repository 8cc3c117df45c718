import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { toYaml } from '../../ts/config/yaml-writer.js'
import { type CommandResult, runCommand } from './run-command.js'

/** Tiny architectures with the vocabularies of the sample tokenizers; sizes that no kernel likes. */
export const TINY = {
  gpt2: {
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    ...{ n_embd: 24, n_layer: 1, n_head: 2, n_positions: 64, n_inner: null, activation_function: 'gelu_new' },
    ...{ layer_norm_epsilon: 1e-5, initializer_range: 0.02, torch_dtype: 'float32' },
  },
  gemma: {
    architectures: ['GemmaForCausalLM'],
    model_type: 'gemma',
    ...{
      hidden_size: 24,
      intermediate_size: 40,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 16,
    },
    ...{
      hidden_act: 'gelu',
      hidden_activation: null,
      max_position_embeddings: 128,
      rms_norm_eps: 1e-6,
      rope_theta: 10000,
    },
    ...{ initializer_range: 0.02, torch_dtype: 'float32', pad_token_id: 0, eos_token_id: 1, bos_token_id: 2 },
  },
} as const

export const DATA = 'examples/laptop/data'

/** config.json of a tiny model for one of the sample tokenizers. */
export async function writeTinyConfig(path: string, kind: keyof typeof TINY): Promise<void> {
  const folder = join(DATA, 'tokenizers', kind === 'gpt2' ? 'policy' : 'scorer')
  const tokenizer = JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')) as {
    model: { vocab: object }
    added_tokens: { id: number }[]
  }
  const last = Math.max(
    Object.keys(tokenizer.model.vocab).length - 1,
    ...tokenizer.added_tokens.map((token) => token.id),
  )
  const special = kind === 'gpt2' ? { bos_token_id: last, eos_token_id: last } : {}
  await writeFile(path, JSON.stringify({ ...TINY[kind], vocab_size: last + 1, ...special }))
}

export interface TrainRun {
  kind: 'language-model' | 'reward' | 'ensemble' | 'policy'
  config: unknown
  folder: string
  /** Further arguments. */
  more?: readonly string[]
}

/** `prudent train` as a process. `signal` is sent once metrics.jsonl has `afterSteps` lines; SIGKILL only when a checkpoint stands too. */
export async function train(
  run: TrainRun,
  stop?: { signal: NodeJS.Signals; afterSteps: number },
): Promise<CommandResult> {
  const config = `${run.folder}.yaml`
  await writeFile(config, toYaml(run.config))
  let ended = false
  const watch = async (kill: () => void) => {
    const isDue = () =>
      countLines(join(run.folder, 'metrics.jsonl')) >= (stop?.afterSteps ?? 0) &&
      (stop?.signal !== 'SIGKILL' || hasCheckpoint(run.folder))
    while (!ended && !isDue()) await sleep(2)
    kill()
  }
  const parameters = ['train', run.kind, '--config', config, '--output', run.folder, ...(run.more ?? [])]
  const result = await runCommand(parameters, {
    started: (child) => {
      child.stdin?.end()
      if (stop) watch(() => child.kill(stop.signal))
    },
  })
  ended = true
  return result
}

/** Checkpoints are completed while steps go on. */
export function hasCheckpoint(folder: string): boolean {
  try {
    return readdirSync(join(folder, 'checkpoints')).some((name) => /^step-\d+$/.test(name))
  } catch {
    return false
  }
}

function countLines(path: string): number {
  try {
    return readFileSync(path, 'utf8').split('\n').length - 1
  } catch {
    return 0
  }
}

/** SHA-256 of every file of the run's result. */
export function fingerprint(folder: string): Record<string, string> {
  const model = join(folder, 'model')
  const digest = (name: string) =>
    createHash('sha256')
      .update(readFileSync(join(model, name)))
      .digest('hex')
  return Object.fromEntries(
    readdirSync(model)
      .sort()
      .map((name) => [name, digest(name)]),
  )
}

/** Lines of metrics.jsonl without what depends on the clock. */
export function steadyMetrics(folder: string): Record<string, unknown>[] {
  const lines = readFileSync(join(folder, 'metrics.jsonl'), 'utf8').trimEnd().split('\n')
  return lines.map((line) => {
    const entries = Object.entries(JSON.parse(line) as Record<string, unknown>)
    return Object.fromEntries(entries.filter(([name]) => !name.startsWith('time/')))
  })
}
