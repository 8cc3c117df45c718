import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { jsonRows, runCommand } from '../support/run-command.js'
import { relativeError, tolerances } from '../support/tolerances.js'

interface Scored {
  index: number
  scores: number[]
  mean: number
  std: number | null
}
interface Answered {
  index: number
  text: string | null
  response_ids: number[]
}
interface ExpectedScore extends Omit<Scored, 'index'> {
  input: Record<string, unknown>
}
interface ExpectedAnswer extends Omit<Answered, 'index'> {
  input: Record<string, unknown>
  logprobs: number[]
}

/** Each test starts processes that load libtorch; on a busy machine that takes long, which is no failure. */
jest.setTimeout(120_000)

const FILES = join('test', 'cli', 'files')
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-commands-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const model = (name: string) => ['--model', join(FILES, name)]
const lines = (rows: object[]) => `${rows.map((row) => JSON.stringify(row)).join('\n')}\n`

async function expectedRows<Row>(name: string): Promise<Row[]> {
  return JSON.parse(await readFile(join(FILES, name, 'expected.json'), 'utf8')) as Row[]
}

async function run<Row>(parameters: string[], input: string): Promise<Row[]> {
  const { code, stdout, stderr } = await runCommand([...parameters, '--input', '-', '--output', '-'], { input })
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  return jsonRows<Row>(stdout)
}

describe.each(['gpt2-reward', 'llama-reward', 'gemma-ensemble'])('score with %s', (name) => {
  test('gives what transformers gives, for every form of input', async () => {
    const expected = await expectedRows<ExpectedScore>(name)
    const rows = await run<Scored>(['score', ...model(name)], lines(expected.map((row) => row.input)))
    expect(rows.map((row) => row.index)).toEqual(expected.map((_, index) => index))
    // One scale for all rows: a single head's score may happen to be near zero.
    const scale = expected.flatMap((row) => row.scores)
    for (const [index, row] of rows.entries()) {
      const want = expected[index] as ExpectedScore
      expect(relativeError(row.scores, want.scores, scale)).toBeLessThan(tolerances.modelOutput)
      expect(relativeError([row.mean], [want.mean], scale)).toBeLessThan(tolerances.modelOutput)
      if (want.std === null) expect(row.std).toBeNull()
      else expect(relativeError([row.std ?? Number.NaN], [want.std], scale)).toBeLessThan(tolerances.modelOutput)
    }
    const near = await run<Scored>(['score', ...model(name), '--int8'], lines(expected.map((row) => row.input)))
    const off = near.map((row, index) => relativeError(row.scores, expected[index]?.scores ?? [], scale))
    expect(Math.max(...off)).toBeLessThan(0.1)
    expect(Math.max(...off)).toBeGreaterThan(tolerances.modelOutput)
    // The twin that must fail: the scores of another row are far outside the tolerance.
    const [first, second] = [rows[0] as Scored, expected[1] as ExpectedScore]
    expect(relativeError(first.scores, second.scores)).toBeGreaterThan(tolerances.modelOutput * 10)
  })
})

describe.each(['gpt2-policy', 'llama-policy', 'gemma-policy'])('generate and logprobs with %s', (name) => {
  test('greedy answers are those of transformers, token by token', async () => {
    const expected = await expectedRows<ExpectedAnswer>(name)
    const parameters = ['generate', ...model(name), '--greedy', '--max-new-tokens', '12']
    const rows = await run<Answered>(parameters, lines(expected.map((row) => row.input)))
    expect(rows).toEqual(expected.map(({ text, response_ids }, index) => ({ index, text, response_ids })))
  })
  test('log-probabilities are those of transformers', async () => {
    const expected = await expectedRows<ExpectedAnswer>(name)
    const rows = await run<{ index: number; logprobs: number[] }>(
      ['logprobs', ...model(name)],
      lines(expected.map((row) => row.input)),
    )
    for (const [index, row] of rows.entries()) {
      const want = (expected[index] as ExpectedAnswer).logprobs
      expect(row.logprobs).toHaveLength(want.length)
      if (want.length > 0) expect(relativeError(row.logprobs, want)).toBeLessThan(tolerances.modelOutput)
    }
  })
})

describe('generate', () => {
  const prompts = [{ text: 'The film' }, { input_ids: [5, 6] }, { text: 'Numbers like' }]

  test('an EOS ends the response and stays in response_ids', async () => {
    const [first] = await expectedRows<ExpectedAnswer>('gemma-policy')
    const end = first?.response_ids[2] as number
    const parameters = [
      'generate',
      ...model('gemma-policy'),
      '--greedy',
      '--max-new-tokens',
      '12',
      '--eos-token-id',
      `${end},100000`,
    ]
    const [row] = await run<Answered>(parameters, lines([first?.input as object]))
    const until = (first?.response_ids ?? []).indexOf(end) + 1
    expect(row?.response_ids).toEqual(first?.response_ids.slice(0, until))
  })
  test('sampling is fixed by the seed and does not depend on the rows beside', async () => {
    const parameters = [
      'generate',
      ...model('llama-policy'),
      '--max-new-tokens',
      '8',
      '--temperature',
      '1.3',
      '--top-k',
      '50',
      '--top-p',
      '0.95',
    ]
    const all = await run<Answered>([...parameters, '--seed', '3'], lines(prompts))
    const first = await run<Answered>([...parameters, '--seed', '3', '--batch-tokens', '1'], lines(prompts.slice(0, 1)))
    const other = await run<Answered>([...parameters, '--seed', '4'], lines(prompts))
    expect(first[0]).toEqual(all[0])
    expect(other.map((row) => row.response_ids)).not.toEqual(all.map((row) => row.response_ids))
  })
  test('a folder without a tokenizer answers ids with ids', async () => {
    const bare = join(folder, 'bare')
    const { cp } = await import('node:fs/promises')
    await cp(join(FILES, 'gpt2-policy'), bare, { recursive: true, filter: (path) => !path.includes('tokenizer') })
    const parameters = ['generate', '--model', bare, '--greedy', '--max-new-tokens', '4']
    const [row] = await run<Answered>(parameters, lines([{ input_ids: [5, 6] }]))
    expect(row).toMatchObject({ text: null, response_ids: expect.any(Array) })
    const withTokenizer = await run<Answered>(
      [...parameters, '--tokenizer', join(FILES, 'gpt2-policy')],
      lines([{ input_ids: [5, 6] }]),
    )
    expect(withTokenizer[0]).toEqual({ ...row, text: expect.any(String) })
    const refused = await runCommand([...parameters, '--input', '-', '--output', '-'], {
      input: lines([{ text: 'a' }]),
    })
    expect(refused).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining('E_NOT_FOUND') })
  })
})

describe('flow of rows', () => {
  test('more rows than a window come in order and once, whatever the batches', async () => {
    const input = lines(
      Array.from({ length: 1100 }, (_, row) => ({
        input_ids: Array.from({ length: 1 + (row % 7) }, (_, at) => (row + at) % 300),
      })),
    )
    const small = await run<Scored>(['score', ...model('gpt2-reward'), '--batch-tokens', '512'], input)
    const large = await run<Scored>(['score', ...model('gpt2-reward')], input)
    expect(small.map((row) => row.index)).toEqual(Array.from({ length: 1100 }, (_, row) => row))
    const [flatSmall, flatLarge] = [small, large].map((rows) => rows.flatMap((row) => row.scores))
    expect(relativeError(flatSmall as number[], flatLarge as number[])).toBeLessThan(tolerances.modelOutput)
  })
  test.each(['score', 'logprobs'])('%s: --no-share-prefixes changes nothing beyond rounding', async (name) => {
    const beginning = Array.from({ length: 12 }, (_, at) => 3 + at)
    const input = lines(Array.from({ length: 8 }, (_, row) => ({ input_ids: [...beginning, row, (row * 5) % 9] })))
    const folder = name === 'score' ? 'gpt2-reward' : 'gpt2-policy'
    const values = async (...options: string[]) =>
      (await run<{ scores?: number[]; logprobs?: number[] }>([name, ...model(folder), ...options], input)).flatMap(
        ({ scores, logprobs }) => scores ?? logprobs ?? [],
      )
    const [shared, apart] = [await values(), await values('--no-share-prefixes')]
    expect(apart).toHaveLength(name === 'score' ? shared.length : 8 * 13)
    expect(relativeError(shared, apart)).toBeLessThan(tolerances.modelOutput)
  })
  test('a file in, a file out, beside nothing else', async () => {
    const [input, output] = [join(folder, 'in.jsonl'), join(folder, 'out', 'scores.jsonl')]
    await writeFile(input, lines([{ text: 'a' }, { text: 'b' }]))
    const { code, stdout, stderr } = await runCommand([
      'score',
      ...model('gpt2-reward'),
      '--input',
      input,
      '--output',
      output,
    ])
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toMatch(/^scored: 2, /)
    expect(jsonRows(await readFile(output, 'utf8'))).toHaveLength(2)
    expect(await readdir(join(folder, 'out'))).toEqual(['scores.jsonl'])
  })
  test('no rows give no rows', async () => expect(await run(['score', ...model('gpt2-reward')], '\n\n')).toEqual([]))
  test('bf16 is near fp32', async () => {
    const input = lines([{ text: 'The film was a quiet delight' }])
    const [fine] = await run<Scored>(['score', ...model('gemma-ensemble')], input)
    const [coarse] = await run<Scored>(['score', ...model('gemma-ensemble'), '--dtype', 'bfloat16'], input)
    expect(relativeError(coarse?.scores ?? [], fine?.scores ?? [])).toBeLessThan(0.05)
    expect(coarse?.scores).not.toEqual(fine?.scores)
  })
})

describe('rows that cannot be used are named by file and line, and nothing is written', () => {
  const good = '{"input_ids":[1]}'
  // test/cli/row-inputs.test.ts has every kind; these go through the whole command.
  const bad: [string, string, string, string][] = [
    ['no JSON', '{"text":', 'E_DATA', 'not JSON'],
    ['an id outside the vocabulary', '{"input_ids":[99999]}', 'E_DATA', 'vocabulary size'],
    [
      'too many tokens',
      JSON.stringify({ input_ids: Array(49).fill(1) }),
      'E_TOO_LONG',
      'at most 48 tokens, received 49; --truncate left',
    ],
  ]
  test.each(bad)('%s', async (name, line, code, message) => {
    const input = join(folder, `${name.replaceAll(' ', '-')}.jsonl`)
    const output = join(folder, 'never.jsonl')
    await writeFile(input, `${good}\n\n${line}\n${good}\n`)
    const result = await runCommand(['score', ...model('gpt2-reward'), '--input', input, '--output', output])
    expect(result).toMatchObject({ code: 1, stdout: '' })
    expect(result.stderr).toContain(`error ${code}: ${input}:3`)
    expect(result.stderr).toContain(message)
    await expect(readFile(output)).rejects.toMatchObject({ code: 'ENOENT' })
    expect((await readdir(folder)).filter((entry) => entry.includes('partial'))).toEqual([])
  })

  test('--truncate left keeps the end: of input_ids the last ids, of texts the special tokens too', async () => {
    const ids = Array.from({ length: 60 }, (_, at) => at + 1)
    const rows = await run<Scored>(
      ['score', ...model('gpt2-reward'), '--truncate', 'left'],
      lines([{ input_ids: ids }, { input_ids: ids.slice(-48) }]),
    )
    expect(rows[0]?.scores).toEqual(rows[1]?.scores)
    const long = await run<Scored>(
      ['score', ...model('gemma-ensemble'), '--truncate', 'left'],
      lines([{ text: 'word '.repeat(200) }]),
    )
    expect(long).toHaveLength(1)
  })
  test('a template that refuses the messages', async () => {
    const input = lines([{ messages: [{ role: 'system', content: 'a' }] }])
    const result = await runCommand(['score', ...model('gemma-ensemble'), '--input', '-', '--output', '-'], { input })
    expect(result).toMatchObject({ code: 1, stdout: '' })
    expect(result.stderr).toMatch(/standard input:1: .*System role not supported/)
  })
})

describe('models that do not fit the command', () => {
  const input = lines([{ input_ids: [1] }])
  const cases: [string, string[], string][] = [
    ['score with a language model', ['score', ...model('gpt2-policy')], 'E_'],
    ['a folder that is not there', ['score', '--model', './none'], 'E_NOT_FOUND'],
    ['a file', ['score', '--model', 'package.json'], 'E_NOT_FOUND'],
    ['a hub id, offline', ['score', '--model', 'owner/none'], 'E_OFFLINE'],
    ['a device that is not there', ['score', ...model('gpt2-reward'), '--device', 'cuda:99'], 'E_DEVICE'],
  ]
  test.each(cases)('%s', async (_name, parameters, code) => {
    const result = await runCommand([...parameters, '--input', '-', '--output', '-'], {
      input,
      environment: { HF_HUB_CACHE: join(folder, 'empty-cache') },
    })
    expect(result).toMatchObject({ code: 1, stdout: '' })
    expect(result.stderr).toContain(`error ${code}`)
  })
  test('more new tokens than positions', async () => {
    const parameters = ['generate', ...model('gpt2-policy'), '--max-new-tokens', '48', '--input', '-', '--output', '-']
    expect(await runCommand(parameters, { input })).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('E_USAGE'),
    })
  })
})

describe('signals and pipes', () => {
  const parameters = ['score', ...model('gpt2-reward'), '--input', '-']

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s stops cleanly with %d and leaves no file', async (name, code) => {
    const output = join(folder, `${name}.jsonl`)
    const result = await runCommand([...parameters, '--output', output], {
      started: (child) => {
        child.stdin?.write(lines(Array.from({ length: 1024 }, () => ({ input_ids: [1, 2] }))))
        setTimeout(() => child.kill(name), 3000)
      },
    })
    expect(result.code).toBe(code)
    expect(result.stderr).toContain(`${name}: stopping`)
    expect((await readdir(folder)).filter((entry) => entry.includes(name))).toEqual([])
  })
  test('a reader that goes away ends the command quietly', async () => {
    const result = await runCommand([...parameters, '--output', '-'], {
      started: (child) => {
        child.stdout?.once('data', () => child.stdout?.destroy())
        const feed = () => child.stdin?.write(lines(Array.from({ length: 1024 }, () => ({ input_ids: [1, 2] }))))
        const timer = setInterval(feed, 50)
        child.on('exit', () => clearInterval(timer))
      },
    })
    expect(result).toMatchObject({ code: 0, stderr: expect.not.stringContaining('error') })
  })
})
