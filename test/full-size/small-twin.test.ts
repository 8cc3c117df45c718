import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { readSafetensorsHeader } from '../support/safetensors-header.js'
import { makeModel, runStage } from './stages.js'

/** The path of full-size.long.test.ts on models of the same names and layout that are small. */

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-small-twin-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe.each(['gemma-small', 'llama-small'])('%s', (name) => {
  const model = () => join(folder, name)

  test('has the layout of a hub repository: several shards, an index that names every tensor once', async () => {
    await makeModel(name, model())
    const files = (await readdir(model())).sort()
    const shards = files.filter((file) => file.endsWith('.safetensors'))
    expect(shards.length).toBeGreaterThan(2)
    expect(shards).toEqual(
      shards.map((_, shard) => `model-${number(shard + 1)}-of-${number(shards.length)}.safetensors`),
    )
    expect(files.filter((file) => !shards.includes(file))).toEqual(['config.json', 'model.safetensors.index.json'])
    const index = JSON.parse(await readFile(join(model(), 'model.safetensors.index.json'), 'utf8'))
    let bytes = 0
    for (const shard of shards) {
      const { __metadata__: _, ...tensors } = await readSafetensorsHeader(join(model(), shard))
      for (const [tensor, { shape, dtype }] of Object.entries(tensors)) {
        expect({ tensor, dtype, shard: index.weight_map[tensor] }).toEqual({ tensor, dtype: 'BF16', shard })
        bytes += 2 * shape.reduce((product, size) => product * size, 1)
      }
    }
    expect(index.metadata.total_size).toBe(bytes)
  })

  test('scores, trains an ensemble on cached features and takes steps of a full fine-tune', async () => {
    const scored = await runStage('score', model(), '256')
    expect(scored).toMatchObject({ finite: true })
    expect(scored.distinct as number).toBeGreaterThan(1)
    const { losses } = await runStage('features', model(), '256')
    expect(losses?.[1] as number).toBeLessThan(losses?.[0] as number)
    const inFile = await runStage('step', model(), '256', folder)
    const inMemory = await runStage('step', model(), '256')
    const numbers = (report: typeof inFile) => report.steps?.map(({ loss, gradNorm }) => ({ loss, gradNorm }))
    expect(numbers(inFile)).toEqual(numbers(inMemory))
    expect(inFile.steps?.[1]?.loss).not.toBe(inFile.steps?.[0]?.loss)
    for (const step of inFile.steps ?? []) expect(step.gradNorm).toBeGreaterThan(0)
    expect(await readdir(folder)).not.toContain('scratch')
  }, 60_000)

  test('comes from its seed', async () => {
    await makeModel(name, `${model()}-again`)
    const first = '-of-'
    const names = (await readdir(model())).filter((file) => file.includes(first))
    for (const file of names) {
      expect((await readFile(join(`${model()}-again`, file))).equals(await readFile(join(model(), file)))).toBe(true)
    }
  })
})

function number(value: number): string {
  return String(value).padStart(5, '0')
}
