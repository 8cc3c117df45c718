// npm run pack:platform [-- FOLDER]: the addon that stands built, as an npm package of its own for this platform and this libtorch:
// FOLDER/prudent-linux-x64-torch2.13-cpu-VERSION.tgz (default build/platform). It holds the addon alone; libtorch comes by
// `npx prudent setup`. Installed beside prudent of the same version, it makes a compiler unnecessary.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { packageVersion, root } from './setup/folders.mjs'
import { OUTPUTS, releaseFolder } from './setup/native.mjs'
import { platformPackageName } from './setup/platform-package.mjs'
import { SetupError, say } from './setup/report.mjs'
import { readJson, writeJson } from './setup/stamps.mjs'
import { findNpm, findOnPath } from './setup/tools.mjs'

function manifest(name, { version: libtorch, cuda }) {
  return {
    name,
    version: packageVersion(),
    description: `prudent's native addon for ${process.platform} ${process.arch} and libtorch ${libtorch}${cuda ? ' with CUDA' : ''}`,
    license: 'Apache-2.0',
    os: [process.platform],
    cpu: [process.arch],
    libc: ['glibc'],
    files: OUTPUTS,
  }
}

function readme(name) {
  return `# ${name}\n\nThe native addon of [prudent](https://www.npmjs.com/package/prudent), built. It is loaded by prudent of the same version;\nlibtorch is not part of it and comes by \`npx prudent setup\`.\n`
}

/** Symbols of static functions are half of the file, and nothing looks them up. */
function strip(file) {
  const tool = findOnPath('strip')
  if (tool) execFileSync(tool, ['--strip-unneeded', file])
  else say('strip is missing (Debian package: binutils): the package is larger than it need be')
}

function layOut(folder) {
  const release = releaseFolder()
  const stamp = readJson(join(release, 'libtorch.json'))
  const absent = OUTPUTS.filter((name) => !existsSync(join(release, name)))
  if (!stamp || absent.length > 0)
    throw new SetupError(
      'E_NOT_BUILT',
      `no ${absent.join(', ') || 'libtorch.json'} in ${release}: run \`npm run build\``,
    )
  const name = platformPackageName(stamp.version.split('.').slice(0, 2).join('.'), stamp.cuda)
  const contents = join(folder, name)
  rmSync(contents, { recursive: true, force: true })
  mkdirSync(contents, { recursive: true })
  for (const file of OUTPUTS) copyFileSync(join(release, file), join(contents, file))
  for (const file of OUTPUTS.filter((each) => each.endsWith('.node'))) strip(join(contents, file))
  // Where libtorch was on this machine says nothing about another.
  writeJson(join(contents, 'libtorch.json'), { ...stamp, folder: null })
  writeJson(join(contents, 'package.json'), manifest(name, stamp))
  writeFileSync(join(contents, 'README.md'), readme(name))
  copyFileSync(join(root, 'LICENSE'), join(contents, 'LICENSE'))
  return contents
}

try {
  const folder = resolve(process.argv[2] ?? join(root, 'build', 'platform'))
  const contents = layOut(folder)
  const [command, ...args] = findNpm() ?? []
  if (!command) throw new SetupError('E_TOOL', 'missing: npm (Debian package: npm)')
  const packed = execFileSync(command, [...args, 'pack', '--json', '--pack-destination', folder], {
    cwd: contents,
    encoding: 'utf8',
  })
  process.stdout.write(`${join(folder, JSON.parse(packed)[0].filename)}\n`)
} catch (error) {
  say(`${error.code ?? 'E_INTERNAL'}: ${error.message}`)
  process.exitCode = 1
}
