// Job 8: how long a user waits at the shell: the help text, and the score of one line with a 150M-parameter model.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../../scripts/setup/folders.mjs'
import { CONFIGS, modelFolder } from '../support/models.mjs'
import { Random } from '../support/random.mjs'
import { tokens } from '../support/workloads.mjs'

const HELP = 'training/start-help'
const SCORE = 'training/start-score'
const SIZES = { full: 'gemma-150m-10-heads', quick: 'gemma-tiny-10-heads' }
const PRUDENT = join(root, 'bin', 'prudent.js')

export function jobNames() {
  return [HELP, SCORE]
}

export function define({ quick, say, peers }) {
  const model = SIZES[quick ? 'quick' : 'full']
  const folder = modelFolder(model, { dtype: 'bfloat16', say })
  const input = join(root, 'build', 'bench', `${model}-line.jsonl`)
  mkdirSync(join(input, '..'), { recursive: true })
  const line = { input_ids: tokens(new Random(41), 180, CONFIGS[model].vocab_size) }
  writeFileSync(input, `${JSON.stringify(line)}\n`)
  const parse = (output) => ({ scores: JSON.parse(output).scores })
  const ours = (name, args, read) => ({
    ...{ name, kind: 'ours', dtype: 'bfloat16' },
    command: { command: process.execPath, args: [PRUDENT, ...args], parse: read },
  })
  const peer = (name, args, read) => ({
    ...{ name, kind: 'today', dtype: 'bfloat16' },
    command: {
      command: peers.today?.python,
      args: [join(root, 'bench', 'peers', 'once.py'), ...args],
      env: peers.today?.env,
      parse: read,
    },
  })
  const score = ['score', '--model', folder, '--input', input, '--output', '-', '--dtype', 'bfloat16']
  const nothing = () => ({ started: [1] })
  return [
    {
      name: HELP,
      what: 'the help text',
      reference: 'import transformers',
      contestants: [ours('prudent --help', ['--help'], nothing), peer('import transformers', ['help'], nothing)],
      comparisons: [{ ours: 'prudent --help', peer: 'import transformers', goal: { seconds: 0.3 } }],
    },
    {
      name: SCORE,
      what: 'one line scored, from the start of the process',
      about: { model: `${model}, bf16 on disk` },
      reference: 'transformers',
      contestants: [ours('prudent score', score, parse), peer('transformers', ['score', folder, input], parse)],
      comparisons: [
        {
          ours: 'prudent score',
          peer: 'transformers',
          saves: 'reading weights, they are mapped',
          goal: { seconds: 1.5 },
        },
      ],
    },
  ]
}
