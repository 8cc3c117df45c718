import type { Command } from 'commander'
import { command, type Session } from './support/session.js'

export interface TrainOptions {
  config: string
  output: string
  set?: string[]
  overwrite?: boolean
  device?: string
  dtype?: string
}

/** Body of one kind of training; read only when it is asked for. */
type TrainBody = (session: Session, options: TrainOptions) => Promise<void>

const KINDS: { name: string; summary: string; load: () => Promise<TrainBody> }[] = [
  {
    name: 'language-model',
    summary: 'Next-token cross-entropy on texts, from a model folder or from a config.json',
    load: async () => (await import('./train/language-model.js')).trainLanguageModelCommand,
  },
  {
    name: 'reward',
    summary: 'Reward model on preference pairs (Bradley-Terry), full fine-tune',
    load: async () => (await import('./train/reward.js')).trainRewardCommand,
  },
  {
    name: 'ensemble',
    summary: 'Several reward heads on the frozen base of a reward model',
    load: async () => (await import('./train/ensemble.js')).trainEnsembleCommand,
  },
  {
    name: 'policy',
    summary: 'Policy by PPO against a reward model, KL weighted by the disagreement of its heads if asked for',
    load: async () => (await import('./train/policy.js')).trainPolicyCommand,
  },
]

export function register(program: Command): void {
  const train = program
    .command('train')
    .description('Train a language model, a reward model, an ensemble of reward heads or a policy')
  for (const kind of KINDS) {
    withTrainOptions(train.command(kind.name).description(kind.summary)).action(
      command(async (session, options: TrainOptions) => {
        const body = await kind.load()
        await body(session, options)
      }),
    )
  }
}

function withTrainOptions(command: Command): Command {
  return command
    .requiredOption('--config <file>', 'YAML configuration')
    .requiredOption('--output <folder>', 'run directory; an unfinished run there is gone on with')
    .option('--set <key=value>', 'override a value of the configuration; may be repeated', collect)
    .option('--overwrite', 'throw away the run that is there')
    .option('--device <device>', 'cpu or cuda:N; as --set device=…')
    .option('--dtype <type>', 'auto, float32 or bfloat16; as --set dtype=…')
    .addHelpText('after', HELP)
}

function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value]
}

const HELP = `
The run directory holds config.yaml (resolved), metrics.jsonl, TensorBoard events, checkpoints/step-N and, at the end, model/ in the
Hugging Face layout. A summary is printed on standard output as one JSON object. SIGINT or SIGTERM stop at a checkpoint (exit code
130 or 143); the same command goes on from there, as after a crash.

Started several times by torchrun, Slurm or Kubernetes (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, LOCAL_RANK), the processes train one
model together: docs/distributed.md.`
