import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { runCommand } from '../support/run-command.js'

jest.setTimeout(120_000)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-usage-'))
  await writeFile(join(folder, 'in.jsonl'), '{"text":"a"}\n')
  await writeFile(join(folder, 'there.jsonl'), 'kept')
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const flow = () => ['--input', join(folder, 'in.jsonl'), '--output', join(folder, 'out.jsonl')]

describe.each(['score', 'generate', 'logprobs'])('%s', (name) => {
  test('--help is data', async () => {
    const { code, stdout, stderr } = await runCommand([name, '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain(`prudent ${name}`)
    for (const option of ['--model', '--input', '--output', '--dtype', '--device', '--batch-tokens', '--truncate']) {
      expect(stdout).toContain(option)
    }
  })

  test('--no-share-prefixes is where rows are read, not where they are made', async () => {
    const { stdout } = await runCommand([name, '--help'])
    expect(stdout.includes('--no-share-prefixes')).toBe(name !== 'generate')
  })

  const wrong: [string, string[], string][] = [
    ['a missing option', [], '--model'],
    ['an unknown option', ['--model', 'x', '--nope'], '--nope'],
    ['an unknown dtype', ['--model', 'x', '--dtype', 'float16'], 'float32, bfloat16'],
    ['an unknown device', ['--model', 'x', '--device', 'gpu'], 'cpu or cuda:N'],
    ['no batch', ['--model', 'x', '--batch-tokens', '0'], 'an integer >= 1'],
    ['a wrong side', ['--model', 'x', '--truncate', 'right'], 'left'],
  ]
  test.each(wrong)('%s is a usage error', async (_name, parameters, message) => {
    const { code, stdout, stderr } = await runCommand([name, ...parameters, ...flow()])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain('error E_USAGE:')
    expect(stderr).toContain(message)
  })

  test('an existing output is refused before anything is loaded', async () => {
    const { code, stderr } = await runCommand([
      name,
      '--model',
      'none',
      '--input',
      '-',
      '--output',
      join(folder, 'there.jsonl'),
    ])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^error E_EXISTS: .*there\.jsonl.*--overwrite/)
  })
})

const generate: [string, string[], string][] = [
  ['greedy and temperature', ['--greedy', '--temperature', '0.5'], '--temperature'],
  ['greedy and seed', ['--greedy', '--seed', '1'], '--seed'],
  ['temperature 0', ['--temperature', '0'], 'a number > 0'],
  ['top-p above 1', ['--top-p', '1.5'], '(0, 1]'],
  ['top-k below 0', ['--top-k', '-1'], 'an integer >= 0'],
  ['no new tokens', ['--max-new-tokens', '0'], 'an integer >= 1'],
  ['text for a number', ['--max-new-tokens', 'ten'], 'an integer >= 1'],
  ['a wrong EOS', ['--eos-token-id', '1,x'], 'an integer >= 0'],
]
test.each(generate)('generate with %s', async (_name, parameters, message) => {
  const { code, stderr } = await runCommand(['generate', '--model', 'x', ...flow(), ...parameters])
  expect(code).toBe(2)
  expect(stderr).toContain(message)
})

test('an unknown command, and none', async () => {
  expect(await runCommand(['scores'])).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('scores') })
  expect((await runCommand([])).code).toBe(2)
})

test('errors are red on no terminal, and never with NO_COLOR', async () => {
  const { stderr } = await runCommand(['score', '--model', 'none', '--input', '-', '--output', folder], {
    environment: { FORCE_COLOR: '1' },
  })
  expect(stderr).not.toContain('\u001b[')
})

const outputs: [string, string[]][] = [
  ['reproduce', ['--config', 'configs/laptop-smoke.yaml']],
  ['study', ['--config', 'configs/laptop-smoke.yaml']],
  ['theory', []],
  ['report', ['any']],
  ['evaluate', ['rewardbench', '--model', 'any', '--data', 'any']],
]
test.each(outputs)('%s with an output that is a file, or below one', async (name, parameters) => {
  const file = join(folder, 'there.jsonl')
  expect(await runCommand([name, ...parameters, '--output', file])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`error E_EXISTS: ${file}: is a file, expected a folder`),
  })
  expect(await runCommand([name, ...parameters, '--output', join(file, 'x')])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(`error E_IO: ${join(file, 'x')}: cannot be made: ENOTDIR`),
  })
})
