import type { Command } from 'commander'
import type { RowOptions } from './support/model.js'
import {
  type DataFlowOptions,
  type Int8Options,
  type SharedPrefixOptions,
  withDataFlow,
  withInt8,
  withModel,
  withRows,
  withSharedPrefixes,
} from './support/options.js'
import { command } from './support/session.js'

type ScoreOptions = RowOptions & DataFlowOptions & SharedPrefixOptions & Int8Options

export function register(program: Command): void {
  const score = program
    .command('score')
    .description('Score rows with a reward model: one line {index, scores, mean, std} a row')
  withSharedPrefixes(withRows(withDataFlow(withInt8(withModel(score)))))
    .addHelpText('after', HELP)
    .action(
      command(async (session, options: ScoreOptions) => {
        const { runScore } = await import('./support/score-rows.js')
        await runScore(session, options)
      }),
    )
}

const HELP = `
Each input line is a JSON object in one of these forms:
  {"prompt": …, "response": …}  the tokenizer's chat template, or prompt + response as one text where it has none
  {"messages": [{"role": …, "content": …}, …]}  the tokenizer's chat template, no generation prompt
  {"text": …}                   tokenised as transformers does by default, special tokens included
  {"input_ids": [ … ]}          used as they are; the score is read at the last id
std is the sigma of the model's uncertainty source; without one it is over the heads with ddof 1, null for one head.`
