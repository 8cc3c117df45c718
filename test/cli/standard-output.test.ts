import { spawn, spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { expect, jest, test } from '@jest/globals'

jest.setTimeout(60_000)

const launcher = join('bin', 'prudent.js')

/** /dev/full refuses every byte, as a full disk does. */
function runIntoFullDisk(parameters: readonly string[]) {
  const full = openSync('/dev/full', 'w')
  const run = spawnSync(process.execPath, [launcher, ...parameters], { stdio: ['ignore', full, 'pipe'] })
  closeSync(full)
  return { code: run.status, stderr: run.stderr.toString() }
}

test.each(['--help', 'score --help', 'plan'])('%s: output that cannot be written is an error of one line', (typed) => {
  const { code, stderr } = runIntoFullDisk(typed.split(' '))
  expect(code).toBe(1)
  expect(stderr).toMatch(/^error E_IO: standard output: cannot be written: ENOSPC.*\n$/)
})

test('help whose reader has gone ends quietly', async () => {
  const child = spawn(process.execPath, [launcher, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] })
  child.stdout.destroy()
  let stderr = ''
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString()
  })
  const code = await new Promise((resolve) => child.on('close', resolve))
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})
