import { type Command, InvalidArgumentError } from 'commander'
import {
  nonNegativeInteger,
  positiveInteger,
  positiveNumber,
  withInt8,
  withModel,
  withRows,
} from './support/options.js'
import type { ServeOptions } from './support/serve-model.js'
import { command } from './support/session.js'

export function register(program: Command): void {
  const serve = program
    .command('serve')
    .description('Answer HTTP requests for scores with error bars: /pooling, /classify, /score, a page at /')
  withRows(withInt8(withModel(serve)))
    .option('--host <address>', 'address to listen on', address, '127.0.0.1')
    .option('--port <number>', 'port to listen on; 0 takes a free one', port, 8000)
    .option('--served-model-name <name>', "what clients call the model; default: the folder's name or the hub id")
    .option('--api-key-env <name>', 'environment variable that holds the key which every route but /health asks for')
    .option('--max-wait-ms <time>', 'longest wait for others to share a forward pass with', notNegative, 2)
    .option('--fixed-shapes', 'no two requests share a forward pass: the same bits whatever else is asked')
    .option('--max-queued-requests <count>', 'requests at work or waiting; beyond, 429', positiveInteger, 256)
    .option('--max-queued-tokens <count>', 'tokens that may wait; beyond, 429', positiveInteger, 2 ** 18)
    .option('--max-body-bytes <count>', 'size of a request; beyond, 413', positiveInteger, 2 ** 20)
    .option('--max-items <count>', 'texts of a request', positiveInteger, 256)
    .option('--max-tokens-per-item <count>', "tokens of a text; default: the model's positions", positiveInteger)
    .option('--max-tokens-per-request <count>', 'tokens of all texts of a request', positiveInteger, 2 ** 16)
    .option('--max-connections <count>', 'open connections', positiveInteger, 1024)
    .option('--request-timeout <seconds>', 'from the arrival of a request to its answer; then 504', positiveNumber, 30)
    .option('--template-timeout <seconds>', 'for the chat template of a request', positiveNumber, 1)
    .option('--drain-timeout <seconds>', 'at the end: how long requests at work may go on', positiveNumber, 30)
    .option('--trust-request-chat-template', 'let requests bring a chat template of their own')
    .addHelpText('after', HELP)
    .action(
      command(async (session, options: ServeOptions) => {
        const { runServe } = await import('./support/serve-model.js')
        await runServe(session, options)
      }),
    )
}

function port(text: string): number {
  const value = nonNegativeInteger(text)
  if (value > 65_535) throw new InvalidArgumentError('Expected an integer from 0 to 65535.')
  return value
}

/** Node takes an empty one, of a variable that is not set, for every address of the machine. */
function address(text: string): string {
  if (text.trim() === '') throw new InvalidArgumentError('Expected an address.')
  return text
}

function notNegative(text: string): number {
  return Number(text) === 0 && text.trim() !== '' ? 0 : positiveNumber(text)
}

const HELP = `
SIGTERM or SIGINT: no new requests, those at work are answered, exit code 0; a second signal ends at once.
Scores are those of \`prudent score\` with the same --dtype. Fields, limits and figures: docs/serving.md.`
