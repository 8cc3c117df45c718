// Makes a clone ready to run: npm packages, libtorch, the native addon, the TypeScript build; or an installed package, whose npm packages
// and JavaScript are there (`npx prudent setup`). Needs Node's built-ins alone, does only what is out of date, and never asks for
// privileges. CONTRIBUTING.md says how the parts work.
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { signalChildren } from './setup/command.mjs'
import { isClone, root, workFolder } from './setup/folders.mjs'
import { setUpInstalled } from './setup/installed.mjs'
import { resolveLibtorch } from './setup/libtorch.mjs'
import { withLock } from './setup/lock.mjs'
import { buildNative } from './setup/native.mjs'
import { installPackages } from './setup/packages.mjs'
import { SetupError, say } from './setup/report.mjs'
import { checkPlatform, findBuildTools } from './setup/tools.mjs'
import { compileTypeScript } from './setup/typescript.mjs'

const HELP = `node scripts/setup.mjs [--tests] [--keep-going]

  --tests        also build the C++ tests (needs doctest; Debian package: doctest-dev)
  --keep-going   show errors of the native build or of TypeScript and go on with the rest (still ends with status 1)

PRUDENT_LIBTORCH   folder with include/ and lib/ of libtorch (a wheel's torch folder); default: cache, Python, pip
PRUDENT_CACHE      cache that clones share; default $XDG_CACHE_HOME/prudent or ~/.cache/prudent
CXX                compiler to use
`

function readArguments() {
  try {
    return parseArgs({
      options: { tests: { type: 'boolean' }, 'keep-going': { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    }).values
  } catch (error) {
    process.stderr.write(`set-up: E_USAGE: ${error.message}\n${HELP}`)
    process.exit(2)
  }
}

function stopOnSignals() {
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ]) {
    process.on(signal, () => {
      say(`stopped by ${signal}; run it again to go on`)
      signalChildren('SIGTERM')
      process.exit(status)
    })
  }
}

async function setUp({ tests = false, 'keep-going': keepGoing = false }) {
  checkPlatform()
  if (!isClone) return setUpInstalled()
  findBuildTools()
  await withLock(join(workFolder(), 'setup.lock'), 'another set-up', async () => {
    await installPackages(root)
    const libtorch = await resolveLibtorch()
    const steps = [() => buildNative(root, libtorch, { tests }), () => compileTypeScript(root)]
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        if (!keepGoing) throw error
        tell(error)
      }
    }
  })
}

function tell(error) {
  const known = error instanceof SetupError
  say(`${known ? error.code : 'E_INTERNAL'}: ${known ? error.message : error.stack}`)
  process.exitCode = 1
}

const options = readArguments()
if (options.help) {
  process.stdout.write(HELP)
} else {
  stopOnSignals()
  try {
    await setUp(options)
  } catch (error) {
    tell(error)
  }
}
