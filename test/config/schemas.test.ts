import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { configSchemas, ROOT_SCHEMAS } from '../../ts/cli/config-schemas.js'
import { looseMappings } from '../../ts/config/json-schema.js'
import { loadConfig } from '../../ts/config/load.js'

test('configs/schema is what scripts/make-config-schemas.mjs writes now', async () => {
  const folder = join('configs', 'schema')
  const files = (await readdir(folder)).sort()
  expect(files).toEqual(
    Object.keys(ROOT_SCHEMAS)
      .map((name) => `${name}.json`)
      .sort(),
  )
  for (const [name, text] of Object.entries(configSchemas())) {
    expect(await readFile(join(folder, `${name}.json`), 'utf8')).toBe(text)
  }
})

test.each(Object.entries(ROOT_SCHEMAS))(
  'unknown keys are errors everywhere in the %s configuration',
  (_name, schema) => {
    expect(looseMappings(schema)).toEqual([])
  },
)

test('the committed study configuration is valid, and a misspelt key in it is named', async () => {
  const schema = ROOT_SCHEMAS.study as (typeof ROOT_SCHEMAS)[string]
  await loadConfig(schema, join('configs', 'laptop.yaml'))
  await expect(loadConfig(schema, join('configs', 'laptop.yaml'), { set: ['sead=1'] })).rejects.toMatchObject({
    code: 'E_CONFIG',
    message: expect.stringContaining('did you mean seed?'),
  })
})
