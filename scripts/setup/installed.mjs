// `npx prudent setup` of an installed package: libtorch into the cache, and beside it the addon, taken from a platform package where one
// is installed for this libtorch, else built.
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { packageFolder, packageVersion, root, workFolder } from './folders.mjs'
import { resolveLibtorch } from './libtorch.mjs'
import { withLock } from './lock.mjs'
import { buildNative, OUTPUTS, releaseFolder } from './native.mjs'
import { platformPackageName, SUPPORTED_MINORS } from './platform-package.mjs'
import { say } from './report.mjs'
import { fingerprint, readJson, writeJson } from './stamps.mjs'
import { findBuildTools } from './tools.mjs'

/** The installed platform package for this libtorch, if it is of the same version as prudent. */
function findPrebuilt(minor, cuda) {
  const name = platformPackageName(minor, cuda)
  const folder = packageFolder(name)
  const version = folder && readJson(join(folder, 'package.json'))?.version
  return version === packageVersion() ? { name, folder } : undefined
}

function anyPrebuilt() {
  return SUPPORTED_MINORS.some((minor) => [true, false].some((cuda) => findPrebuilt(minor, cuda)))
}

/** One that needs no CUDA runs on a libtorch that has it, but not with its GPU. */
function prebuiltFor({ version, cuda }) {
  const minor = version.split('.').slice(0, 2).join('.')
  return findPrebuilt(minor, cuda) ?? (cuda ? findPrebuilt(minor, false) : undefined)
}

/** Lays the prebuilt addon beside the stamp that says where libtorch is; whole or not at all. */
function takePrebuilt({ name, folder }, libtorch) {
  const stampFile = join(workFolder(), 'stamps', 'prebuilt.json')
  const print = fingerprint(
    OUTPUTS.map((file) => join(folder, file)),
    { libtorch },
  )
  const release = releaseFolder()
  if (readJson(stampFile)?.print === print && OUTPUTS.every((file) => existsSync(join(release, file)))) return
  const partial = `${release}.partial`
  rmSync(partial, { recursive: true, force: true })
  mkdirSync(partial, { recursive: true })
  for (const file of OUTPUTS) copyFileSync(join(folder, file), join(partial, file))
  writeJson(join(partial, 'libtorch.json'), { ...readJson(join(partial, 'libtorch.json')), folder: libtorch.folder })
  rmSync(release, { recursive: true, force: true })
  renameSync(partial, release)
  rmSync(join(workFolder(), 'stamps', 'native.json'), { force: true })
  writeJson(stampFile, { print })
  say(`the addon is that of ${name}`)
}

/** Objects and libraries of a build weigh a hundred times what they were made for, and no edit will need them again. */
function removeBuildTree() {
  const release = releaseFolder()
  for (const name of readdirSync(dirname(release))) {
    const path = join(dirname(release), name)
    if (path !== release) rmSync(path, { recursive: true, force: true })
  }
}

export async function setUpInstalled() {
  // Better before libtorch is downloaded than after.
  if (!anyPrebuilt()) findBuildTools()
  await withLock(join(workFolder(), 'setup.lock'), 'another set-up', async () => {
    const libtorch = await resolveLibtorch()
    const prebuilt = prebuiltFor(libtorch)
    if (prebuilt) takePrebuilt(prebuilt, libtorch)
    else {
      await buildNative(root, libtorch, { tests: false })
      rmSync(join(workFolder(), 'stamps', 'prebuilt.json'), { force: true })
      removeBuildTree()
    }
  })
  say(`ready: ${releaseFolder()}`)
}
