#!/usr/bin/env node
// Committed launcher: imports the build, or says how to make it.
import { existsSync } from 'node:fs'

const main = new URL('../dist/ts/cli/main.js', import.meta.url)
if (existsSync(main)) {
  const { main: run } = await import(main.href)
  await run(process.argv)
} else {
  process.stderr.write('E_NOT_BUILT: prudent is not built: run `npm start` (or `npm run build`) in the clone\n')
  process.exitCode = 1
}
