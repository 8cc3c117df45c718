import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { resolveModel } from '../../ts/data/model-files.js'
import { matchesPattern } from '../../ts/data/patterns.js'
import { isHubId, readSource, resolveSource, selectFiles } from '../../ts/data/sources.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-sources-'))
  const files = [
    'data/train-00000-of-00002.jsonl',
    'data/train-00001-of-00002.jsonl',
    'data/test-00000-of-00001.jsonl',
    '.cache/train.jsonl',
  ]
  for (const [index, name] of files.entries()) {
    await mkdir(dirname(join(folder, name)), { recursive: true })
    await writeFile(join(folder, name), `{"n":${index * 2}}\n{"n":${index * 2 + 1}}\n`)
  }
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('patterns', () => {
  const cases: [string, string, boolean][] = [
    ['model.safetensors', '*.safetensors', true],
    ['original/model.safetensors', '*.safetensors', false],
    ['original/model.safetensors', '**/*.safetensors', true],
    ['model.safetensors', '**/*.safetensors', true],
    ['a/b/c.parquet', 'a/**', true],
    ['data/train-1.parquet', 'data/train-?.parquet', true],
    ['data/train-12.parquet', 'data/train-?.parquet', false],
    ['data/train-1.parquet', 'data/train-[0-3].parquet', true],
    ['data/train-5.parquet', 'data/train-[!0-3].parquet', true],
    ['axb', 'a.b', false],
    ['a+(b)', 'a+(b)', true],
  ]
  test.each(cases)('%s under %s: %p', (path, pattern, expected) => expect(matchesPattern(path, pattern)).toBe(expected))
})

describe('selectFiles', () => {
  const names = [
    'README.md',
    'data/train-00000-of-00001.parquet',
    'data/test-00000-of-00001.parquet',
    'extra/notes.jsonl',
  ]
  const readme = [
    '---',
    'configs:',
    '- config_name: default',
    '  data_files:',
    '  - split: train',
    '    path: data/train-*',
    '  - split: filtered',
    '    path: [extra/*]',
    '- config_name: other',
    '  data_files: extra/notes.jsonl',
    '---',
    '# Title',
  ].join('\n')

  test('by README.md configs', () => {
    expect(selectFiles(names, readme, { path: 'x' })).toEqual(['data/train-00000-of-00001.parquet'])
    expect(selectFiles(names, readme, { path: 'x', split: 'filtered' })).toEqual(['extra/notes.jsonl'])
    expect(selectFiles(names, readme, { path: 'x', subset: 'other' })).toEqual(['extra/notes.jsonl'])
    expect(() => selectFiles(names, readme, { path: 'x', split: 'test' })).toThrow(
      'no split "test"; there is train, filtered',
    )
  })
  test('by the words in file names', () => {
    expect(selectFiles(names, '', { path: 'x', split: 'test' })).toEqual(['data/test-00000-of-00001.parquet'])
    expect(selectFiles(['a/pretraining.jsonl', 'a/train.jsonl'], '', { path: 'x' })).toEqual(['a/train.jsonl'])
    expect(selectFiles(['only.jsonl'], '', { path: 'x' })).toEqual(['only.jsonl'])
    expect(() => selectFiles(names, '', { path: 'x', split: 'dev' })).toThrow(
      expect.objectContaining({ code: 'E_NOT_FOUND' }),
    )
  })
  test('by patterns, which win over splits', () => {
    expect(selectFiles(names, readme, { path: 'x', files: ['extra/*.jsonl'] })).toEqual(['extra/notes.jsonl'])
    expect(() => selectFiles(names, readme, { path: 'x', files: ['*.csv'] })).toThrow('no data file matches *.csv')
  })
  test('nothing to read', () => {
    expect(() => selectFiles(['README.md'], '', { path: 'x' })).toThrow('no data files')
    expect(() => selectFiles(names, '', { path: 'x', subset: 'none' })).toThrow('no subset "none"')
  })
})

describe('local sources', () => {
  test('a folder gives its split in the order of names, hidden folders left out', async () => {
    const values: unknown[] = []
    for await (const row of readSource({ path: folder })) values.push(row.values.n)
    expect(values).toEqual([0, 1, 2, 3])
  })
  test('limit stops in the middle of a file', async () => {
    const values: unknown[] = []
    for await (const row of readSource({ path: folder, limit: 3 })) values.push(row.values.n)
    expect(values).toEqual([0, 1, 2])
  })
  test('a single file needs no split', async () => {
    const path = join(folder, 'data', 'test-00000-of-00001.jsonl')
    expect(await resolveSource({ path })).toEqual({ files: [path], revision: null })
  })
  test('what is neither there nor a hub id', async () => {
    await expect(resolveSource({ path: './none/here' })).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      message: `./none/here: no such file or folder in ${process.cwd()}`,
    })
    await expect(resolveModel({ path: 'a/b/c' })).rejects.toMatchObject({
      message: `a/b/c: no such model folder in ${process.cwd()}`,
    })
    await expect(resolveModel({ path: '/none/here' })).rejects.toMatchObject({
      message: '/none/here: no such model folder',
    })
    await expect(resolveSource({ path: 'data/none.jsonl' })).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  })
  test.each([
    ['allenai/reward-bench', true],
    ['data/train.parquet', false],
    ['./a', false],
    ['a/b/c', false],
    ['../a', false],
    ['folder', false],
  ])('isHubId(%s) is %p', (path, expected) => expect(isHubId(path)).toBe(expected))
})
