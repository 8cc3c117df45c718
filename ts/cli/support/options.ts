import { type Command, InvalidArgumentError, Option } from 'commander'

export interface DataFlowOptions {
  input: string
  output: string
  overwrite?: boolean
}

export interface ModelOptions {
  model: string
  revision?: string
  dtype: 'auto' | 'float32' | 'bfloat16'
  device: string
  batchTokens: number
}

/** --input, --output and --overwrite as every command with rows in and rows out has them. */
export function withDataFlow(command: Command): Command {
  return command
    .requiredOption(
      '--input <file>',
      'JSON Lines, one object a line; unpacked if its name ends in .gz; - is standard input',
    )
    .requiredOption('--output <file>', 'JSON Lines, packed if its name ends in .gz; - is standard output')
    .option('--overwrite', 'replace an existing output file')
}

/** --model, --dtype, --device and --batch-tokens as every command that runs a model has them. */
export function withModel(command: Command): Command {
  return command
    .requiredOption('--model <folder>', 'Hugging Face model folder, or a hub id owner/name')
    .option('--revision <name>', 'branch, tag or commit of a hub id')
    .addOption(new Option('--dtype <type>', 'arithmetic').choices(['auto', 'float32', 'bfloat16']).default('float32'))
    .option('--device <device>', 'cpu or cuda:N', device, 'cpu')
    .option('--batch-tokens <count>', 'tokens in one forward pass', positiveInteger, 8192)
}

/** --int8 as the commands have it that only score. */
export function withInt8(command: Command): Command {
  return command.option(
    '--int8',
    "the blocks' products in 8-bit integers: faster on a CPU with AVX-512 VNNI, scores change a little",
  )
}

export interface Int8Options {
  int8?: boolean
}

/** --no-share-prefixes as commands have it whose rows may begin alike. */
export function withSharedPrefixes(command: Command): Command {
  return command.option('--no-share-prefixes', 'compute what rows have in common at their beginning once for each row')
}

export interface SharedPrefixOptions {
  sharePrefixes: boolean
}

/** Kinds of configuration files, by the names of their schemas in configs/schema. */
export const CONFIG_KINDS = [
  'language-model',
  'reward',
  'ensemble',
  'policy',
  'judge',
  'study',
  'experiment',
  'sources',
] as const
export type ConfigKind = (typeof CONFIG_KINDS)[number]

/** --as of the commands that take a configuration of any kind. */
export function asKind(description: string): Option {
  return new Option('--as <kind>', description).choices(CONFIG_KINDS)
}

export interface StudyOptions {
  config: string
  output: string
  set: string[]
}

/** --config, --output and --set as the commands that run a study have them. */
export function withStudy(command: Command): Command {
  return command
    .requiredOption('--config <file>', 'YAML configuration of the study')
    .requiredOption('--output <folder>', 'run directory; what is done there is not done again')
    .option(
      '--set <key=value>',
      'replace a value of the configuration, may be repeated',
      (value: string, before: string[]) => [...before, value],
      [],
    )
}

/** --tokenizer and --truncate as commands have them that turn rows into tokens. */
export function withRows(command: Command): Command {
  return command
    .option('--tokenizer <folder>', "tokenizer folder or hub id; default: the model's")
    .addOption(new Option('--truncate <side>', 'cut rows that are too long instead of refusing them').choices(['left']))
}

export const integerAtLeast =
  (least: number) =>
  (text: string): number =>
    checked(text, Number.isSafeInteger(Number(text)) && Number(text) >= least, `an integer >= ${least}`)

export const positiveInteger = integerAtLeast(1)
export const nonNegativeInteger = integerAtLeast(0)

/** Draws come in pairs. */
export function evenInteger(text: string): number {
  return checked(
    text,
    Number.isSafeInteger(Number(text)) && Number(text) >= 2 && Number(text) % 2 === 0,
    'an even integer >= 2',
  )
}

export function positiveNumber(text: string): number {
  return checked(text, Number.isFinite(Number(text)) && Number(text) > 0, 'a number > 0')
}

/** A probability that is not zero. */
export function fraction(text: string): number {
  return checked(text, Number(text) > 0 && Number(text) <= 1, 'a number in (0, 1]')
}

/** Collects a repeated or comma-separated option of token ids. */
export function tokenIds(text: string, before: readonly number[] = []): number[] {
  return [...before, ...text.split(',').map(nonNegativeInteger)]
}

function checked(text: string, valid: boolean, expected: string): number {
  if (text.trim() === '' || !valid) throw new InvalidArgumentError(`Expected ${expected}.`)
  return Number(text)
}

export function device(text: string): string {
  if (!/^(cpu|cuda(:\d+)?)$/.test(text)) throw new InvalidArgumentError('Expected cpu or cuda:N.')
  return text
}
