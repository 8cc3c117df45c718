import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { makeFolder } from '../../ts/run/folders.js'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'prudent-folders-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

test('makes those above it, many at once, and leaves one that is there', async () => {
  const folder = join(root, 'a', 'b', 'c')
  await Promise.all(Array.from({ length: 8 }, () => makeFolder(folder)))
  expect((await stat(folder)).isDirectory()).toBe(true)
  await writeFile(join(folder, 'kept'), '')
  await makeFolder(folder)
  expect((await stat(join(folder, 'kept'))).isFile()).toBe(true)
})

test('a file in its place, or above it', async () => {
  const file = join(root, 'file')
  await writeFile(file, '')
  await expect(makeFolder(file)).rejects.toMatchObject({ code: 'E_EXISTS', message: expect.stringContaining(file) })
  await expect(makeFolder(join(file, 'below'))).rejects.toMatchObject({ code: 'E_IO' })
})

const procTest = process.platform === 'linux' ? test : test.skip
procTest('a folder that takes no new one ends in an error and not in an endless search', async () => {
  await expect(makeFolder('/proc/none/below')).rejects.toMatchObject({
    code: 'E_IO',
    message: expect.stringContaining('/proc/none'),
  })
})
