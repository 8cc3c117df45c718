/** Programs of a project that has installed prudent; they know nothing of this clone. */

const IDS = '[[11, 12, 13], [20, 7]]'

/** Prints the scores of two rows, or what went wrong. */
export const SCORE = (model: string) => `
import { RewardModel } from 'prudent'
try {
  const model = await RewardModel.load(${JSON.stringify(model)}, { dtype: 'float32' })
  const rows = await model.score({ ids: ${IDS} })
  console.log(JSON.stringify(rows.map(({ scores, mean, std }) => ({ scores: [...scores], mean, std }))))
} catch ({ code, message }) {
  console.log(JSON.stringify({ code, message }))
}
`

/** Refuses connections, processes and writes while the package is imported. */
const quiet = `
import { createRequire } from 'node:module'
const require = createRequire(import.meta.url)
const refuse = (what) => () => { throw new Error('import ' + what) }
require('node:net').Socket.prototype.connect = refuse('opens a connection')
const processes = require('node:child_process')
for (const name of ['spawn', 'spawnSync', 'exec', 'execFile', 'fork']) processes[name] = refuse('starts a process')
const files = require('node:fs')
for (const name of ['writeFileSync', 'mkdirSync', 'openSync', 'createWriteStream']) files[name] = refuse('writes')
require('node:module').syncBuiltinESMExports()
process.dlopen = refuse('loads an addon')
await import('prudent')
await import('prudent/policy')
await import('prudent/fastify')
await import('prudent/errors')
console.log('quiet')
`

/** require() of an ES module is the very module that import() gives, and none of them awaits at its top. */
const both = `
const assert = require('node:assert')
const names = ['prudent', 'prudent/policy', 'prudent/fastify', 'prudent/errors']
const required = names.map((name) => require(name))
assert.equal(typeof require('prudent/package.json').version, 'string')
Promise.all(names.map((name) => import(name))).then((imported) => {
  imported.forEach((module, at) => {
    for (const name of Object.keys(module)) assert.equal(required[at][name], module[name], name)
  })
  assert.equal(required[0].PrudentError, required.at(-1).PrudentError)
  console.log('one build')
})
`

const scoreCjs = (model: string) => `
const { RewardModel } = require('prudent')
RewardModel.load(${JSON.stringify(model)}, { dtype: 'float32' })
  .then((model) => model.score({ ids: ${IDS} }))
  .then((rows) => console.log(JSON.stringify(rows.map(({ scores, mean, std }) => ({ scores: [...scores], mean, std })))))
`

const workers = (model: string) => `
import { Worker, isMainThread, parentPort } from 'node:worker_threads'
import { RewardModel } from 'prudent'
const score = async () => {
  const model = await RewardModel.load(${JSON.stringify(model)}, { dtype: 'float32' })
  const rows = await model.score({ ids: ${IDS} })
  return rows.map(({ scores, mean, std }) => ({ scores: [...scores], mean, std }))
}
if (isMainThread) {
  const others = [1, 2].map(() => new Promise((resolve, reject) => {
    new Worker(new URL(import.meta.url)).once('message', resolve).once('error', reject)
  }))
  console.log(JSON.stringify(await Promise.all([...others, score()])))
} else {
  parentPort.postMessage(await score())
}
`

const copies = (model: string) => `
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
const copy = createRequire(new URL('copy/', import.meta.url)).resolve('prudent')
const modules = [await import('prudent'), await import(pathToFileURL(copy).href)]
const scored = []
for (const { RewardModel } of modules) {
  const model = await RewardModel.load(${JSON.stringify(model)}, { dtype: 'float32' })
  scored.push((await model.score({ ids: ${IDS} })).map(({ scores }) => [...scores]))
}
console.log(JSON.stringify({ apart: modules[0].RewardModel !== modules[1].RewardModel, first: scored[0], second: scored[1] }))
`

/** A CommonJS host with a Fastify of its own. */
const plugin = (model: string) => `
const app = require('fastify')()
app.register(require('prudent/fastify'), { model: ${JSON.stringify(model)}, prefix: '/rewards' })
app.inject({ method: 'POST', url: '/rewards/score', payload: { prompt: 'a', response: 'b' } }).then(async (answer) => {
  await app.close()
  console.log(answer.statusCode, Object.keys(answer.json().data[0].uncertainty).join())
})
`

export const CONSUMERS = { quiet, both, scoreCjs, workers, copies, plugin }

export const TYPED = {
  'typed.mts': `
import { type ErrorCode, PrudentError, RewardModel, type RowScore } from 'prudent'
import prudent, { type ServiceOptions } from 'prudent/fastify'
import { ERROR_CODES } from 'prudent/errors'
import fastify from 'fastify'
const [row] = await (await RewardModel.load('folder')).score({ ids: [[1, 2]] })
export const std: number | null = (row as RowScore).std
export const code: ErrorCode = new PrudentError('E_RANGE', 'x').code
export const options: ServiceOptions = { maxWaitMs: 2 }
export const known: string = ERROR_CODES.E_RANGE
await fastify().register(prudent, { model: 'folder', ...options })
`,
  'typed.cts': `
import prudent = require('prudent')
export async function first(): Promise<number | null> {
  const [row] = await (await prudent.RewardModel.load('folder')).score({ ids: [[1, 2]] })
  const std: number | null = row!.std
  return std
}
`,
}

/** The project has no @types/node, fastify or zod of its own version: the clone's stand in. */
export const TYPES_CONFIG = (repository: string, file: string) => ({
  compilerOptions: {
    ...{ module: 'nodenext', target: 'es2023', strict: true, noEmit: true, skipLibCheck: true },
    ...{ types: ['node'], typeRoots: [`${repository}/node_modules/@types`] },
    paths: { fastify: [`${repository}/node_modules/fastify/fastify.d.ts`] },
  },
  files: [file],
})
