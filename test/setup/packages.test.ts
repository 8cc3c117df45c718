import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from '@jest/globals'
import { SmallClone } from './clone.js'

interface LockFile {
  packages: Record<
    string,
    { version?: string; integrity?: string; resolved?: string; dependencies?: object; devDependencies?: object }
  >
}

/** A clone whose only dependency lies in the clone itself, so that npm needs no registry. It stops at the native build. */
function cloneWithOwnPackage(): SmallClone {
  const clone = new SmallClone({ linkModules: false })
  clone.write('own/package.json', JSON.stringify({ name: 'own', version: '1.0.0' }))
  const manifest = { name: 'small', version: '1.0.0', dependencies: { own: 'file:own' } }
  clone.write('package.json', JSON.stringify(manifest))
  const packages = { '': manifest, 'node_modules/own': { resolved: 'own', link: true }, own: { version: '1.0.0' } }
  clone.write(
    'package-lock.json',
    JSON.stringify({ name: 'small', version: '1.0.0', lockfileVersion: 3, requires: true, packages }),
  )
  return clone
}

const OFFLINE = { npm_config_offline: 'true', NODE_ENV: 'production' }

test('npm ci runs when node_modules is missing or incomplete, and not again', async () => {
  using clone = cloneWithOwnPackage()
  const record = join(clone.root, 'node_modules', '.package-lock.json')
  expect((await clone.run([], OFFLINE)).stderr).toMatch(/installing npm packages \(node_modules is missing\)/)
  expect(existsSync(record)).toBe(true)
  expect((await clone.run([], OFFLINE)).stderr).not.toMatch(/installing npm packages/)
  // npm writes the record last: an installation that was killed has none.
  rmSync(record)
  expect((await clone.run([], OFFLINE)).stderr).toMatch(/installing npm packages \(node_modules is incomplete\)/)
})

test('a lock file that says otherwise is followed; offline that fails with what npm said', async () => {
  using clone = new SmallClone({ linkModules: false })
  const lock = JSON.parse(readFileSync(join(clone.root, 'package-lock.json'), 'utf8')) as LockFile
  const [path, entry] = Object.entries(lock.packages).find(([name]) => name === 'node_modules/zod') ?? []
  expect(path).toBeDefined()
  clone.write(
    'node_modules/.package-lock.json',
    JSON.stringify({ packages: { ...lock.packages, 'node_modules/zod': { ...entry, version: '0.0.1' } } }),
  )
  for (const name of Object.keys(lock.packages)) if (name !== '') clone.write(`${name}/package.json`, '{}')
  const registry = { npm_config_offline: 'true', npm_config_cache: join(clone.folder, 'empty cache') }
  const { status, stderr } = await clone.run([], registry)
  expect(status).toBe(1)
  expect(stderr).toMatch(/installing npm packages \(node_modules\/zod is 0\.0\.1, the lock file says/)
  expect(stderr).toMatch(/E_BUILD: npm ci failed/)
})

test('a lock file that is no lock file is named', async () => {
  using clone = new SmallClone()
  writeFileSync(join(clone.root, 'package-lock.json'), '{')
  expect((await clone.run()).stderr).toMatch(/E_CORRUPT_FILE: package-lock\.json/)
})
