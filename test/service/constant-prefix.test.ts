import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, jest, test } from '@jest/globals'
import { RewardModel } from '../../ts/addon/reward-model.js'
import { templatePrefix } from '../../ts/data/template-prefix.js'
import { Tokenizer } from '../../ts/data/tokenizer.js'
import { ScoringService } from '../../ts/serve/fastify.js'
import { relativeError, tolerances } from '../support/tolerances.js'
import { ENSEMBLE } from './apps.js'

const TEMPLATE =
  'A judge reads what follows and says how good the answer is.\n' +
  '{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}'
const items = [
  { prompt: 'how was it', response: 'good' },
  { prompt: 'how was it', response: 'bad, and long' },
  { prompt: 'and the film', response: 'fine' },
]

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent constant prefix '))
  await cp(ENSEMBLE, folder, { recursive: true })
  await writeFile(join(folder, 'chat_template.jinja'), TEMPLATE)
})
afterAll(() => rm(folder, { recursive: true }))

const scoresOf = async (service: ScoringService) =>
  (await service.score(items)).rows.flatMap(({ scores }) => Array.from(scores))

test('a loaded service keeps what its template begins with, and scores as without', async () => {
  const loading = jest.spyOn(RewardModel, 'load')
  const service = await ScoringService.load(folder, { dtype: 'float32', fixedShapes: true })
  const model = (await loading.mock.results[0]?.value) as RewardModel
  loading.mockRestore()
  const tokenizer = await Tokenizer.load(folder)
  const prefix = Array.from(await templatePrefix(tokenizer))
  expect(await model.computedTokens({ ids: [[...prefix, 5, 6]] })).toBe(2)
  const kept = await scoresOf(service)
  expect(await scoresOf(service)).toEqual(kept)
  await service.dispose()

  await using plain = await RewardModel.load(folder, { dtype: 'float32' })
  const without = new ScoringService({ name: 'plain', model: plain.native, tokenizer, settings: { fixedShapes: true } })
  const reference = await scoresOf(without)
  expect(relativeError(kept, reference)).toBeLessThan(tolerances.batching)
  // The twin that must fail: the scores of other items.
  expect(relativeError([...kept.slice(-1), ...kept.slice(0, -1)], reference)).toBeGreaterThan(tolerances.batching * 100)
  await without.dispose()
})
