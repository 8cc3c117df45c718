// The arrow of the TypeScript rooms: cli -> study -> policy, uncertainty -> training, evaluation -> data, config, run, addon. A room may
// import what stands in its row and nothing else; files directly in ts/ (errors, index) are open to all, index to none.
import { readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { filesBelow } from '../setup/stamps.mjs'

const GROUND = ['addon', 'config', 'data', 'run']
const MAY_IMPORT = {
  addon: [],
  run: ['config'],
  config: [],
  data: ['addon', 'config', 'run'],
  training: GROUND,
  evaluation: GROUND,
  uncertainty: [...GROUND, 'training', 'evaluation'],
  policy: [...GROUND, 'training'],
  theory: ['data', 'study'],
  study: [...GROUND, 'training', 'evaluation', 'uncertainty', 'policy'],
  report: [...GROUND, 'study', 'evaluation', 'theory', 'uncertainty'],
  serve: [...GROUND],
  cli: [...GROUND, 'training', 'evaluation', 'policy', 'uncertainty', 'theory', 'study', 'report', 'serve'],
}
const IMPORT = /(?:\bfrom\s+|\bimport\s*\(\s*|\bimport\s+)['"](\.{1,2}\/[^'"]+)['"]/g

export function checkImports(root) {
  const ts = join(root, 'ts')
  return filesBelow(ts, (file) => file.endsWith('.ts')).flatMap((file) => {
    const room = relative(ts, file).split('/')[0]
    if (room.endsWith('.ts')) return []
    const where = relative(root, file)
    if (!(room in MAY_IMPORT)) return [`${where}: ts/${room} has no row in scripts/lint/imports.mjs`]
    if (/\/utils?(\/|\.ts$)/.test(file)) return [`${where}: a file is named by what it does, not utils`]
    const text = readFileSync(file, 'utf8').replace(/^\s*(\/\/|\*).*$/gm, '')
    return [...text.matchAll(IMPORT)].flatMap(([, target]) => {
      const reached = relative(ts, resolve(dirname(file), target))
      const other = reached.split('/')[0]
      if (reached.startsWith('..')) return [`${where}: imports ${target}, which is outside ts/`]
      if (other === 'errors.js' || other === room || MAY_IMPORT[room].includes(other)) return []
      return [`${where}: ts/${room} must not import ${reached}`]
    })
  })
}
