// Writes docs/errors.md from the table in ts/errors.ts. Run after a build: node scripts/make-error-docs.mjs
import { writeFileSync } from 'node:fs'

const { errorDocs } = await import(new URL('../dist/ts/errors-docs.js', import.meta.url).href)
writeFileSync(new URL('../docs/errors.md', import.meta.url), errorDocs())
