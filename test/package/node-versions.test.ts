import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals'
import { cacheFolder } from '../../ts/addon/places.js'
import { MODEL, Project, pack, packPlatform, platformPackage } from './project.js'
import { CONSUMERS, SCORE } from './scripts.js'

jest.setTimeout(120_000)

/** The versions that prudent runs on; `npm run check:deep -- nodes` puts those that are not this one into the cache. */
const MAJORS = ['20', '22', '24']
const running = process.versions.node.split('.')[0] as string
const nodeOf = (major: string): string =>
  join(cacheFolder(), `node-${major}`, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
const others = MAJORS.filter((major) => major !== running)

describe('the installed package under other versions of Node', () => {
  let folder: string
  let project: Project
  let expected: unknown
  beforeAll(() => {
    if (!others.some((major) => existsSync(nodeOf(major)))) return
    folder = mkdtempSync(join(tmpdir(), 'prudent-packed-'))
    project = new Project({ prudent: pack(folder).tarball, [platformPackage]: packPlatform(folder) })
    project.layLibtorch()
    expected = JSON.parse(project.node([project.write('score.mjs', SCORE(MODEL))]).stdout)
    expect(expected).toHaveLength(2)
  })
  afterAll(() => {
    project?.[Symbol.dispose]()
    if (folder) rmSync(folder, { recursive: true, force: true })
  })

  for (const major of others) {
    const node = nodeOf(major)
    const there = existsSync(node) ? test : test.skip
    there(`${major}: import, require and worker threads, with the scores of Node ${running}`, () => {
      const run = (name: string, text: string) => {
        const { status, signal, stdout, stderr } = project.node([project.write(name, text)], {}, node)
        expect({ name, status, signal, stderr }).toEqual({ name, status: 0, signal: null, stderr: '' })
        return stdout
      }
      expect(run('version.mjs', 'console.log(process.version)')).toMatch(new RegExp(`^v${major}\\.`))
      expect(run('both.cjs', CONSUMERS.both)).toBe('one build\n')
      expect(JSON.parse(run('score.mjs', SCORE(MODEL)))).toEqual(expected)
      expect(JSON.parse(run('score.cjs', CONSUMERS.scoreCjs(MODEL)))).toEqual(expected)
      expect(JSON.parse(run('workers.mjs', CONSUMERS.workers(MODEL)))).toEqual([expected, expected, expected])
    })
  }
})
