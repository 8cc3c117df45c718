import { lstat, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { openOutput } from '../../ts/cli/support/output.js'
import { readJsonLines } from '../../ts/data/json-lines.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-output-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('a file appears whole at commit and not before', async () => {
  const path = join(folder, 'new', 'out.jsonl')
  const output = await openOutput(path)
  await output.write('one\n')
  await expect(readFile(path)).rejects.toMatchObject({ code: 'ENOENT' })
  await output.write('two\n')
  await output.commit()
  await output.discard()
  expect(await readFile(path, 'utf8')).toBe('one\ntwo\n')
  expect(await readdir(join(folder, 'new'))).toEqual(['out.jsonl'])
})

test('a name that ends in .gz is packed, and read as it was written', async () => {
  const path = join(folder, 'out.jsonl.GZ')
  for (const texts of [['{"a":1}\n', '{"a":2}\n'], []]) {
    const output = await openOutput(path, { overwrite: true })
    for (const text of texts) await output.write(text)
    await output.commit()
    expect(gunzipSync(await readFile(path)).toString()).toBe(texts.join(''))
    const lines: unknown[] = []
    for await (const { value } of readJsonLines(path)) lines.push(value)
    expect(lines).toEqual(texts.map((text) => JSON.parse(text)))
  }
})

test('discarding leaves nothing behind and keeps what was there', async () => {
  const path = join(folder, 'out.jsonl')
  await writeFile(path, 'before')
  const output = await openOutput(path, { overwrite: true })
  await output.write('half')
  await output.discard()
  await output.discard()
  expect(await readFile(path, 'utf8')).toBe('before')
  expect(await readdir(folder)).toEqual(['out.jsonl'])
})

test('an existing file needs overwrite', async () => {
  const path = join(folder, 'out.jsonl')
  await writeFile(path, 'before')
  await expect(openOutput(path)).rejects.toMatchObject({ code: 'E_EXISTS' })
  const output = await openOutput(path, { overwrite: true })
  await output.write('after')
  await output.commit()
  expect(await readFile(path, 'utf8')).toBe('after')
})

test('a link stays a link, and its target changes', async () => {
  await writeFile(join(folder, 'target'), 'before')
  await symlink('target', join(folder, 'link'))
  const output = await openOutput(join(folder, 'link'), { overwrite: true })
  await output.write('after')
  await output.commit()
  expect((await lstat(join(folder, 'link'))).isSymbolicLink()).toBe(true)
  expect(await readFile(join(folder, 'target'), 'utf8')).toBe('after')
})

test('devices are written to and never replaced', async () => {
  const output = await openOutput('/dev/null')
  await output.write('gone')
  await output.commit()
  expect((await lstat('/dev/null')).isCharacterDevice()).toBe(true)
})

test('what cannot be written', async () => {
  await expect(openOutput(folder)).rejects.toMatchObject({ code: 'E_EXISTS' })
  await writeFile(join(folder, 'file'), '')
  await expect(openOutput(join(folder, 'file', 'out'))).rejects.toMatchObject({ code: 'E_IO' })
})
