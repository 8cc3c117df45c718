import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { checkFileName, checkNoFileIsFolder } from '../../ts/data/hub/names.js'
import { downloadSnapshot, isOffline, listSnapshot, openSnapshot } from '../../ts/data/hub.js'
import { resolveModel } from '../../ts/data/model-files.js'
import { readSource } from '../../ts/data/sources.js'
import { type HubRepository, HubServer } from '../support/hub-server.js'

const COMMIT = `${'a'.repeat(39)}1`
const LARGE = Buffer.alloc(300_000, 'weights ')

function model(): HubRepository {
  return {
    type: 'model',
    name: 'owner/tiny',
    commit: COMMIT,
    branch: 'main',
    files: {
      'config.json': { content: Buffer.from('{"model_type":"gpt2"}') },
      'model.safetensors': { content: LARGE, lfs: true },
      'original/model.safetensors': { content: Buffer.from('other'), lfs: true },
      'tokenizer.json': { content: Buffer.from('{}') },
      'pytorch_model.bin': { content: Buffer.from('pickle'), lfs: true },
    },
  }
}

function dataset(): HubRepository {
  const readme =
    '---\nconfigs:\n- config_name: default\n  data_files:\n  - split: filtered\n    path: data/filtered-*\n---\n'
  return {
    type: 'dataset',
    name: 'owner/pairs',
    commit: 'b'.repeat(40),
    branch: 'main',
    files: {
      'README.md': { content: Buffer.from(readme) },
      'data/filtered-00000-of-00002.jsonl': { content: Buffer.from('{"n":1}\n{"n":2}\n') },
      'data/filtered-00001-of-00002.jsonl': { content: Buffer.from('{"n":3}\n'), lfs: true },
      'data/raw-00000-of-00001.jsonl': { content: Buffer.from('{"n":9}\n') },
    },
  }
}

let cacheFolder: string
let server: HubServer
const MODEL = { type: 'model', name: 'owner/tiny' } as const
const online = () => ({ cacheFolder, endpoint: server.endpoint, offline: false, retryDelay: 5 })

// Whoever runs the tests may be logged in.
delete process.env.HF_TOKEN
delete process.env.HUGGING_FACE_HUB_TOKEN
process.env.HF_TOKEN_PATH = join(tmpdir(), 'no such token')

beforeEach(async () => {
  cacheFolder = await mkdtemp(join(tmpdir(), 'prudent-hub-'))
  server = await HubServer.start([
    model(),
    dataset(),
    { ...model(), name: 'owner/private', token: 'secret' },
    { ...model(), name: 'owner/gated', token: 'secret', gated: true },
  ])
})
afterEach(async () => {
  await server.stop()
  await rm(cacheFolder, { recursive: true, force: true })
})

describe('a snapshot', () => {
  test("has Python's cache layout and only the files that match", async () => {
    const { folder, commit, files } = await downloadSnapshot(MODEL, {
      ...online(),
      patterns: ['*.json', '*.safetensors'],
    })
    const root = join(cacheFolder, 'models--owner--tiny')
    expect(commit).toBe(COMMIT)
    expect(files).toEqual(['config.json', 'model.safetensors', 'tokenizer.json'])
    expect(folder).toBe(join(root, 'snapshots', COMMIT))
    expect(await readFile(join(root, 'refs', 'main'), 'utf8')).toBe(COMMIT)
    expect((await readdir(folder)).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json'])
    expect(await readlink(join(folder, 'model.safetensors'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/)
    expect(await readlink(join(folder, 'config.json'))).toMatch(/^\.\.\/\.\.\/blobs\/[0-9a-f]{40}$/)
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(LARGE)
  })
  test('is not downloaded again, and works offline by branch and by commit', async () => {
    await downloadSnapshot(MODEL, { ...online(), patterns: ['config.json'] })
    const before = server.requests.filter((request) => request.path.includes('/resolve/')).length
    await downloadSnapshot(MODEL, { ...online(), patterns: ['config.json'] })
    expect(server.requests.filter((request) => request.path.includes('/resolve/'))).toHaveLength(before)
    const all = server.requests.length
    for (const revision of ['main', COMMIT]) {
      const { files } = await downloadSnapshot(MODEL, { cacheFolder, offline: true, revision, patterns: ['**'] })
      expect(files).toEqual(['config.json'])
    }
    expect(server.requests).toHaveLength(all)
  })
  test('goes on where a broken connection left it', async () => {
    // More cuts than fruitless tries are allowed: each brought something.
    server.cuts.push(100_000, 50_000, 10, 10, 10, 10)
    const { folder } = await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(LARGE)
    const ranges = server.requests.filter((request) => request.path.startsWith('/lfs/')).map((request) => request.range)
    expect(ranges[0]).toBeUndefined()
    expect(ranges.slice(1).every((range) => /^bytes=[1-9]\d*-$/.test(range ?? ''))).toBe(true)
    expect(ranges).toHaveLength(7)
  })
  test('goes on from the incomplete file of an earlier process', async () => {
    const root = join(cacheFolder, 'models--owner--tiny')
    await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    const [blob] = await readdir(join(root, 'blobs'))
    await rm(join(root, 'snapshots'), { recursive: true })
    await rm(join(root, 'blobs', blob as string))
    await writeFile(join(root, 'blobs', `${blob}.prudent.incomplete`), LARGE.subarray(0, 1234))
    server.requests.length = 0
    await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    expect(
      server.requests.filter((request) => request.path.startsWith('/lfs/')).map((request) => request.range),
    ).toEqual(['bytes=1234-'])
    expect(await readdir(join(root, 'blobs'))).toEqual([blob])
  })
  test('two downloads of the same file at once both end well', async () => {
    const both = await Promise.all(
      [1, 2].map(() => downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })),
    )
    for (const { folder } of both) expect(await readFile(join(folder, 'model.safetensors'))).toEqual(LARGE)
    expect(await readdir(join(cacheFolder, 'models--owner--tiny', 'blobs'))).toHaveLength(1)
  })
  test('what an earlier process left damaged is thrown away and fetched again', async () => {
    const { folder } = await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    const root = join(cacheFolder, 'models--owner--tiny')
    const [blob] = await readdir(join(root, 'blobs'))
    await rm(join(root, 'snapshots'), { recursive: true })
    await rm(join(root, 'blobs', blob as string))
    await writeFile(join(root, 'blobs', `${blob}.prudent.incomplete`), Buffer.alloc(1000, 'x'))
    await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(LARGE)
  })
  test('a blob of another length than the hub lists is fetched again', async () => {
    const { folder } = await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    const root = join(cacheFolder, 'models--owner--tiny')
    const [blob] = await readdir(join(root, 'blobs'))
    await writeFile(join(root, 'blobs', blob as string), 'short')
    await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(LARGE)
  })
  test.each(['ignores the range', 'sends another range', 'sends more'] as const)(
    'a server that %s when asked for the rest: the file is whole all the same',
    async (lie) => {
      server.cuts.push(100_000)
      // The first answer is honest and cut; the second one lies.
      server.lies.push(null, lie)
      const { folder } = await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
      expect(await readFile(join(folder, 'model.safetensors'))).toEqual(LARGE)
    },
  )
  test('other bytes of the right length are refused', async () => {
    server.lies.push('sends other bytes')
    await expect(downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })).rejects.toMatchObject({
      code: 'E_CORRUPT_FILE',
    })
  })
  test('two processes at once: one downloads, the other waits for it', async () => {
    const script = `
      import { downloadSnapshot } from ${JSON.stringify(new URL('../../ts/data/hub.js', import.meta.url).href)}
      const [cacheFolder, endpoint] = process.argv.slice(1)
      const options = { cacheFolder, endpoint, offline: false, patterns: ['model.safetensors'] }
      await downloadSnapshot({ type: 'model', name: 'owner/tiny' }, options)`
    const run = promisify(execFile)
    const child = () => run(process.execPath, ['--input-type=module', '-e', script, cacheFolder, server.endpoint])
    await Promise.all([child(), child(), child()])
    expect(server.requests.filter((request) => request.path.startsWith('/lfs/'))).toHaveLength(1)
    expect(await readdir(join(cacheFolder, 'models--owner--tiny', 'blobs'))).toHaveLength(1)
  })
  test('a server that only fails is given up', async () => {
    server.failures.push(...Array<number>(9).fill(503))
    await expect(downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })).rejects.toMatchObject({
      code: 'E_HUB',
    })
  })
  test('survives passing failures of the server', async () => {
    server.failures.push(503, 429)
    const { folder } = await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    expect(await readFile(join(folder, 'model.safetensors'))).toEqual(LARGE)
  })
  test('survives passing failures of the list of files', async () => {
    server.apiFailures.push(503, 429)
    expect((await listSnapshot(MODEL, online())).commit).toBe(COMMIT)
  })
  test('keeps at most the given number of downloads in flight and reports progress', async () => {
    const seen: [number, number][] = []
    const progress = (done: number, total: number) => seen.push([done, total])
    await downloadSnapshot(MODEL, { ...online(), patterns: ['**'], concurrency: 2, progress })
    expect(seen.at(-1)).toEqual([5, 5])
    expect(server.mostAtOnce).toBe(2)
  })
})

describe('credentials', () => {
  const request = { name: 'owner/private', type: 'model' } as const
  test('go to the hub and not to its storage', async () => {
    await downloadSnapshot(request, { ...online(), token: 'secret', patterns: ['model.safetensors'] })
    const storage = server.requests.filter((entry) => entry.path.startsWith('/lfs/'))
    expect(storage.map((entry) => entry.authorization)).toEqual([undefined])
    expect(
      server.requests
        .filter((entry) => !entry.path.startsWith('/lfs/'))
        .every((entry) => entry.authorization === 'Bearer secret'),
    ).toBe(true)
  })
  test('that are missing are named: a private repository looks like none at all', async () => {
    await expect(listSnapshot(request, online())).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
      message: expect.stringContaining('HF_TOKEN'),
    })
  })
  test('come from the file that a login leaves', async () => {
    const path = join(cacheFolder, 'token')
    await writeFile(path, 'secret\n')
    process.env.HF_TOKEN_PATH = path
    try {
      expect((await listSnapshot(request, online())).files).toContain('config.json')
    } finally {
      process.env.HF_TOKEN_PATH = join(tmpdir(), 'no such token')
    }
  })
})

describe('a gated repository', () => {
  const gated = { name: 'owner/gated', type: 'model' } as const
  const get = (token?: string) => downloadSnapshot(gated, { ...online(), token, patterns: ['config.json'] })
  const refusedWith = (...parts: string[]) => ({
    code: 'E_HUB',
    message: expect.stringMatching(new RegExp(parts.map((part) => part.replaceAll('/', '\\/')).join('.*'))),
  })
  test('without a token: where the licence is accepted and the token made', async () => {
    const parts = ['accept its licence on', `${server.endpoint}/owner/gated`, '/settings/tokens', 'HF_TOKEN']
    await expect(get()).rejects.toMatchObject(refusedWith(...parts))
  })
  test('with the token of an account that has not accepted it', async () => {
    const parts = ['no access \\(403\\)', `${server.endpoint}/owner/gated`, 'with that account']
    await expect(get('another')).rejects.toMatchObject(refusedWith(...parts))
  })
  test('with the token of one that has', async () => {
    expect((await get('secret')).files).toEqual(['config.json'])
  })
})

describe('what goes wrong', () => {
  test('a repository, a revision', async () => {
    await expect(listSnapshot({ type: 'model', name: 'owner/none' }, online())).rejects.toMatchObject({
      code: 'E_NOT_FOUND',
    })
    await expect(listSnapshot(MODEL, { ...online(), revision: 'none' })).rejects.toMatchObject({ code: 'E_NOT_FOUND' })
  })
  test('offline without a cache, by option and by environment', async () => {
    await expect(listSnapshot(MODEL, { cacheFolder, offline: true })).rejects.toMatchObject({ code: 'E_OFFLINE' })
    expect([
      isOffline({ HF_HUB_OFFLINE: '1' }),
      isOffline({ PRUDENT_OFFLINE: 'true' }),
      isOffline({ HF_HUB_OFFLINE: '0' }),
    ]).toEqual([true, true, false])
    expect(server.requests).toEqual([])
  })
  test('no server', async () => {
    await expect(listSnapshot(MODEL, { ...online(), endpoint: 'http://127.0.0.1:9' })).rejects.toMatchObject({
      code: 'E_HUB',
    })
  })
  test('content with another hash is refused and not kept', async () => {
    await server.stop()
    const broken = model()
    broken.files['config.json'] = { content: Buffer.from('{}'), listedHash: 'c'.repeat(40) }
    server = await HubServer.start([broken])
    await expect(downloadSnapshot(MODEL, { ...online(), patterns: ['config.json'] })).rejects.toMatchObject({
      code: 'E_CORRUPT_FILE',
    })
    expect(await readdir(join(cacheFolder, 'models--owner--tiny', 'blobs'))).toEqual([])
  })
  test.each([
    '../../evil',
    '/etc/passwd',
    'a/../../b',
    'C:\\x',
    'C:x',
    'a\\..\\b',
    'a//b',
    'nul',
    'data/COM1.json',
    'a\u0000b',
    'a:stream',
    'name.',
    `${'n'.repeat(256)}`,
  ])('the file name %j is refused', async (name) => {
    await server.stop()
    const evil = model()
    evil.files[name] = { content: Buffer.from('x') }
    server = await HubServer.start([evil])
    await expect(downloadSnapshot(MODEL, { ...online(), patterns: ['**'] })).rejects.toMatchObject({
      code: 'E_HUB',
      message: expect.stringContaining('refused'),
    })
    expect(
      await readdir(cacheFolder).then((names) => names.filter((entry) => entry !== 'models--owner--tiny')),
    ).toEqual([])
  })
  test('names that are a file and a folder at once, and plain ones', () => {
    expect(() => checkNoFileIsFolder(['a', 'a/b'], 'owner/x')).toThrow(/refused/)
    for (const name of ['a', 'a.b/c-d_e.json', 'plain_text/train-00000-of-00001.parquet', 'console.txt', 'nullable/x'])
      checkFileName(name, 'owner/x')
  })
  test('a link in the cache that leads out of it is not followed', async () => {
    await downloadSnapshot(MODEL, { ...online(), patterns: ['config.json'] })
    const outside = await mkdtemp(join(tmpdir(), 'prudent-outside-'))
    try {
      const snapshot = join(cacheFolder, 'models--owner--tiny', 'snapshots', COMMIT)
      await symlink(outside, join(snapshot, 'original'))
      await expect(
        downloadSnapshot(MODEL, { ...online(), patterns: ['original/model.safetensors'] }),
      ).rejects.toMatchObject({ code: 'E_HUB', message: expect.stringContaining('out of the cache') })
      expect(await readdir(outside)).toEqual([])
    } finally {
      await rm(outside, { recursive: true, force: true })
    }
  })
  test('a link where the partial download would be is not written through', async () => {
    await downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })
    const root = join(cacheFolder, 'models--owner--tiny')
    const [blob] = await readdir(join(root, 'blobs'))
    const victim = join(cacheFolder, 'victim')
    await writeFile(victim, 'mine')
    await rm(join(root, 'blobs', blob as string))
    await rm(join(root, 'snapshots'), { recursive: true })
    await symlink(victim, join(root, 'blobs', `${blob}.prudent.incomplete`))
    await expect(downloadSnapshot(MODEL, { ...online(), patterns: ['model.safetensors'] })).rejects.toMatchObject({
      code: 'E_IO',
    })
    expect(await readFile(victim, 'utf8')).toBe('mine')
  })
  test('more than the disk holds is refused before the first byte', async () => {
    const listing = await listSnapshot(MODEL, online())
    const entry = { size: 2 ** 52, oid: 'd'.repeat(40), sha256: 'e'.repeat(64) }
    const large = { ...listing, entries: new Map([['model.safetensors', entry]]) }
    await expect(openSnapshot(large, ['model.safetensors'], online())).rejects.toMatchObject({
      code: 'E_IO',
      message: expect.stringContaining('free'),
    })
    expect(server.requests.some((request) => request.path.includes('/resolve/'))).toBe(false)
  })
  test.each(['../x', 'a/../b', '', 'a b', '/x'])('the revision %j is refused', async (revision) => {
    await expect(listSnapshot(MODEL, { ...online(), revision })).rejects.toMatchObject({ code: 'E_USAGE' })
  })
  test('a stopped download', async () => {
    const signal = AbortSignal.abort()
    await expect(downloadSnapshot(MODEL, { ...online(), patterns: ['**'], signal })).rejects.toMatchObject({
      code: 'E_CANCELLED',
    })
  })
})

describe('through sources and models', () => {
  test('a split of a data set, named by its README.md', async () => {
    const rows: unknown[] = []
    for await (const row of readSource({ path: 'owner/pairs', split: 'filtered' }, undefined, online()))
      rows.push(row.values.n)
    expect(rows).toEqual([1, 2, 3])
    expect(server.requests.some((request) => request.path.includes('raw-00000'))).toBe(false)
    const again: unknown[] = []
    for await (const row of readSource({ path: 'owner/pairs', split: 'filtered' }, undefined, {
      cacheFolder,
      offline: true,
    }))
      again.push(row.values.n)
    expect(again).toEqual([1, 2, 3])
  })
  test('a model folder has what prudent reads and no pickles', async () => {
    const { folder, revision } = await resolveModel({ path: 'owner/tiny' }, online())
    expect((await readdir(folder)).sort()).toEqual(['config.json', 'model.safetensors', 'tokenizer.json'])
    expect(revision).toBe(COMMIT)
  })
})

const python = process.env.PRUDENT_PEERS_PYTHON
const withPython = python === undefined ? test.skip : test
withPython('huggingface_hub finds in the cache what was downloaded here', async () => {
  const { folder } = await downloadSnapshot(MODEL, { ...online(), patterns: ['*.json', '*.safetensors'] })
  const script = [
    'import sys',
    'from huggingface_hub import snapshot_download, scan_cache_dir',
    'print(snapshot_download("owner/tiny", cache_dir=sys.argv[1], local_files_only=True))',
    'info = scan_cache_dir(sys.argv[1])',
    'print(len(info.warnings), [len(revision.files) for repo in info.repos for revision in repo.revisions])',
  ].join('\n')
  const { stdout } = await promisify(execFile)(python as string, ['-c', script, cacheFolder])
  expect(stdout.trim().split('\n')).toEqual([folder, '0 [3]'])
})
