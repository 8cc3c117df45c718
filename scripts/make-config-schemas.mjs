// Writes configs/schema/*.json, JSON Schemas for editors. Run after a build: node scripts/make-config-schemas.mjs
// An editor takes one by a first line such as: # yaml-language-server: $schema=schema/study.json
import { mkdirSync, writeFileSync } from 'node:fs'

const { configSchemas } = await import(new URL('../dist/ts/cli/config-schemas.js', import.meta.url).href)
const folder = new URL('../configs/schema/', import.meta.url)
mkdirSync(folder, { recursive: true })
for (const [name, text] of Object.entries(configSchemas())) writeFileSync(new URL(`${name}.json`, folder), text)
