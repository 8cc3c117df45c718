import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { type Row, readRows } from '../../ts/data/rows.js'

const PARQUET = join('test', 'data', 'files', 'parquet')
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-rows-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function all(file: string, columns?: string[]): Promise<Row[]> {
  const rows: Row[] = []
  for await (const row of readRows([file], columns)) rows.push(row)
  return rows
}

async function written(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, content)
  return path
}

describe('Parquet', () => {
  const names = ['none', 'snappy', 'gzip', 'zstd', 'brotli', 'lz4', 'v1', 'v2']
  test.each(names)('preferences-%s holds what pyarrow wrote', async (name) => {
    const expected = JSON.parse(await readFile(join(PARQUET, 'preferences.json'), 'utf8')) as Record<string, unknown>[]
    const rows = await all(join(PARQUET, `preferences-${name}.parquet`))
    const values = rows.map(({ values }) =>
      typeof values.id === 'bigint' ? { ...values, id: String(values.id) } : values,
    )
    expect(values).toEqual(expected)
    expect(rows.map((row) => row.number)).toEqual(expected.map((_, index) => index + 1))
  })
  test('columns are chosen, and a missing one is named with those there are', async () => {
    const rows = await all(join(PARQUET, 'preferences-zstd.parquet'), ['prompt'])
    expect(Object.keys(rows[0]?.values ?? {})).toEqual(['prompt'])
    await expect(all(join(PARQUET, 'preferences-zstd.parquet'), ['text'])).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      message: expect.stringContaining('no column "text"; there is id, prompt, chosen, rejected'),
    })
  })
  test('a file without rows has no rows', async () => expect(await all(join(PARQUET, 'no-rows.parquet'))).toEqual([]))
  test.each([0, 5, 100, -3, -200])('cut at %d bytes it is corrupt, not short', async (end) => {
    const bytes = await readFile(join(PARQUET, 'preferences-zstd.parquet'))
    const path = await written(`cut${end}.parquet`, bytes.subarray(0, end < 0 ? bytes.length + end : end))
    await expect(all(path)).rejects.toMatchObject({ code: 'E_CORRUPT_FILE', message: expect.stringContaining(path) })
  })
  test('an empty file is said to be empty', async () => {
    await expect(all(await written('empty.parquet', ''))).rejects.toMatchObject({
      code: 'E_CORRUPT_FILE',
      message: expect.stringContaining('not a whole Parquet file: it is empty'),
    })
  })
  test('bytes changed inside are an error with the file in it, or leave the number of rows as it was', async () => {
    const bytes = await readFile(join(PARQUET, 'preferences-gzip.parquet'))
    for (let at = 10; at < bytes.length; at += 197) {
      const copy = Uint8Array.from(bytes)
      copy[at] = (copy[at] as number) ^ 0xff
      const path = await written('flipped.parquet', copy)
      const result = await all(path).catch((error: { code: string; message: string }) => error)
      if (Array.isArray(result)) expect(result.length).toBe(23)
      else expect(result).toMatchObject({ message: expect.stringContaining('flipped.parquet') })
    }
  })
  test('a missing file', async () => {
    await expect(all(join(folder, 'none.parquet'))).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  })
})

describe('JSON Lines', () => {
  test('any rows come back, whatever the chunks, line ends and blank lines', async () => {
    const row = fc.dictionary(
      fc.string(),
      fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean(), fc.constant(null)),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 20 }), fc.constantFrom('\n', '\r\n', '\n\n'), async (rows, end) => {
        const text = rows.map((values) => JSON.stringify(values)).join(end) + (rows.length % 2 ? end : '')
        const plain = await written('any.jsonl', text)
        const packed = await written('any.jsonl.gz', gzipSync(text))
        const expected = rows.map((values) => JSON.parse(JSON.stringify(values)))
        expect((await all(plain)).map((read) => read.values)).toEqual(expected)
        expect((await all(packed)).map((read) => read.values)).toEqual(expected)
      }),
      { numRuns: 40 },
    )
  })
  test('a long line over many chunks keeps its characters', async () => {
    const text = '日本語é👩‍👩‍👧'.repeat(30_000)
    const [row] = await all(await written('long.jsonl', `${JSON.stringify({ text })}\n`))
    expect(row?.values.text).toBe(text)
  })
  test('a byte order mark is skipped, and line numbers count blank lines', async () => {
    const rows = await all(await written('mark.jsonl', '\uFEFF{"a":1}\n\n\n{"a":2}'))
    expect(rows.map((row) => [row.values.a, row.number])).toEqual([
      [1, 1],
      [2, 4],
    ])
  })
  test('a .json file may be an array or lines', async () => {
    expect((await all(await written('array.json', ' [{"a":1},\n{"a":2}]'))).map((row) => row.values.a)).toEqual([1, 2])
    expect((await all(await written('lines.json', '{"a":1}\n{"a":2}\n'))).map((row) => row.values.a)).toEqual([1, 2])
  })

  const bad: [string, string | Uint8Array, string, string][] = [
    ['no JSON', '{"a":1}\n{"a":', 'E_DATA', ':2: not JSON'],
    ['not an object', '{"a":1}\n\n[1]', 'E_DATA', ':3: expected an object, received a list'],
    ['a number', '7', 'E_DATA', ':1: expected an object, received a number'],
    [
      'not UTF-8',
      Uint8Array.from([...Buffer.from('{"a":1}\n{"a":"'), 0xff, 0xfe, ...Buffer.from('"}\n')]),
      'E_CORRUPT_FILE',
      ':2: not UTF-8',
    ],
  ]
  test.each(bad)('%s is refused with file and line', async (name, content, code, message) => {
    const path = await written(`${name.replaceAll(' ', '-')}.jsonl`, content)
    await expect(all(path)).rejects.toMatchObject({ code, message: expect.stringContaining(path + message) })
  })
  test('a cut gzip file is corrupt', async () => {
    const path = await written('cut.jsonl.gz', gzipSync('{"a":1}\n'.repeat(1000)).subarray(0, 40))
    await expect(all(path)).rejects.toMatchObject({ code: 'E_CORRUPT_FILE' })
    await expect(all(await written('plain.jsonl.gz', '{"a":1}'))).rejects.toMatchObject({ code: 'E_CORRUPT_FILE' })
  })
  test.each(['X.JSONL.GZ', 'X.JSON.GZ', 'X.NDJSON.Gz'])('%s is unpacked', async (name) => {
    const text = name === 'X.JSON.GZ' ? '[{"a":1}]' : '{"a":1}\n'
    expect((await all(await written(name, gzipSync(text)))).map((row) => row.values.a)).toEqual([1])
  })
  test('an array that is cut or not UTF-8 is corrupt', async () => {
    const rows = Array.from({ length: 9000 }, (_, a) => ({ a: Math.sin(a) }))
    const cut = gzipSync(JSON.stringify(rows)).subarray(0, -50)
    await expect(all(await written('cut-array.json.gz', cut))).rejects.toMatchObject({ code: 'E_CORRUPT_FILE' })
    await expect(all(await written('latin.json', Buffer.from('[\n{"a":"caf\xe9"}]', 'latin1')))).rejects.toMatchObject({
      code: 'E_CORRUPT_FILE',
      message: expect.stringContaining(':2: not UTF-8'),
    })
  })
  test('a missing file and a missing column', async () => {
    await expect(all(join(folder, 'none.jsonl'))).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
    const path = await written('columns.jsonl', '{"a":1}\n{"b":1}')
    await expect(all(path, ['a'])).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      message: expect.stringContaining(':2: no column "a"'),
    })
  })
})
