import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { MODEL, Project, pack, stamp } from './project.js'
import { SCORE } from './scripts.js'

test(
  'npx prudent setup builds the addon of an installed tarball, and a second one has nothing to do',
  () => {
    const folder = mkdtempSync(join(tmpdir(), 'prudent-packed-'))
    using project = new Project({ prudent: pack(folder).tarball })
    rmSync(folder, { recursive: true })
    const settings = { PRUDENT_LIBTORCH: stamp.folder }
    const built = project.prudent(['setup'], settings)
    expect(built.stderr).toMatch(/building the addon[\s\S]*ready: /)
    expect(built.status).toBe(0)
    expect(project.prudent(['setup'], settings).stderr).toMatch(/^set-up: ready: \S.*\n$/)
    const scored = project.node([project.write('score.mjs', SCORE(MODEL))])
    expect(JSON.parse(scored.stdout)).toHaveLength(2)
  },
  30 * 60_000,
)
