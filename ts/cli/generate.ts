import { type Command, Option } from 'commander'
import type { RowOptions } from './support/model.js'
import {
  type DataFlowOptions,
  fraction,
  nonNegativeInteger,
  positiveInteger,
  positiveNumber,
  tokenIds,
  withDataFlow,
  withModel,
  withRows,
} from './support/options.js'
import { command } from './support/session.js'

export type GenerateOptions = RowOptions &
  DataFlowOptions & {
    maxNewTokens: number
    minNewTokens: number
    greedy?: boolean
    temperature: number
    topK: number
    topP: number
    seed: number
    eosTokenId?: number[]
  }

export function register(program: Command): void {
  const generate = program
    .command('generate')
    .description('Answer prompts with a language model: one line {index, text, response_ids} a row')
  withRows(withDataFlow(withModel(generate)))
    .option('--max-new-tokens <count>', 'tokens of a response at most', positiveInteger, 128)
    .option('--min-new-tokens <count>', 'no EOS before this many tokens', nonNegativeInteger, 0)
    .addOption(new Option('--greedy', 'take the most likely token').conflicts(['temperature', 'topK', 'topP', 'seed']))
    .option('--temperature <value>', 'divide logits by this', positiveNumber, 1)
    .option('--top-k <count>', 'draw from the k most likely tokens; 0: from all', nonNegativeInteger, 0)
    .option('--top-p <mass>', 'draw from the most likely tokens of this probability mass', fraction, 1)
    .option(
      '--seed <number>',
      'of the random numbers; a row draws the same whatever rows are beside it',
      nonNegativeInteger,
      0,
    )
    .option(
      '--eos-token-id <ids>',
      'ids that end a response; default: generation_config.json, else config.json',
      tokenIds,
    )
    .addHelpText('after', HELP)
    .action(
      command(async (session, options: GenerateOptions) => {
        const { runGenerate } = await import('./support/generate-rows.js')
        await runGenerate(session, options)
      }),
    )
}

const HELP = `
Each input line is a JSON object, {"text": …} (tokenised as transformers does by default) or {"input_ids": [ … ]}.
response_ids keep EOS when it was drawn; text leaves special tokens out (skip_special_tokens=True in transformers), and is
null where the model's folder has no tokenizer. Sampling settings of generation_config.json are not applied.`
