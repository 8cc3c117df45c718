import type { Command } from 'commander'
import type { RowOptions } from './support/model.js'
import {
  type DataFlowOptions,
  type SharedPrefixOptions,
  withDataFlow,
  withModel,
  withRows,
  withSharedPrefixes,
} from './support/options.js'
import { command } from './support/session.js'

type LogprobsOptions = RowOptions & DataFlowOptions & SharedPrefixOptions

export function register(program: Command): void {
  const logprobs = program
    .command('logprobs')
    .description('Log-probability of every token after the first: one line {index, logprobs} a row')
  withSharedPrefixes(withRows(withDataFlow(withModel(logprobs))))
    .addHelpText('after', HELP)
    .action(
      command(async (session, options: LogprobsOptions) => {
        const { runLogprobs } = await import('./support/logprob-rows.js')
        await runLogprobs(session, options)
      }),
    )
}

const HELP = `
Each input line is a JSON object, {"text": …} (tokenised as transformers does by default) or {"input_ids": [ … ]}.
logprobs are natural logarithms; a row of n tokens has n - 1 of them.`
