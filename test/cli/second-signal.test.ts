import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { runCommand } from '../support/run-command.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-signals-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const CODES = { SIGINT: 130, SIGTERM: 143 }

/** Runs a study and sends the signals once its first stage is under way, while it is held: it finds all of them waiting at once. */
function studyWithSignals(signals: readonly NodeJS.Signals[]) {
  return runCommand(['reproduce', '--config', 'configs/laptop-smoke.yaml', '--output', join(folder, signals.join())], {
    input: '',
    started: (child) => {
      let sent = false
      child.stderr?.on('data', (text: string) => {
        if (sent || !text.includes(' …')) return
        sent = true
        for (const signal of ['SIGSTOP', ...signals, 'SIGCONT'] as const) child.kill(signal)
      })
    },
  })
}

test('a second signal ends the command at once, with the exit code of that signal', async () => {
  // A clean stop would exit with the code of the first, and needs turns of the event loop that it is not given here.
  const { code, signal, stderr } = await studyWithSignals(['SIGINT', 'SIGTERM'])
  const first = /prudent: (SIGINT|SIGTERM): stopping/.exec(stderr)?.[1]
  expect({ code, signal }).toEqual({ code: first === 'SIGINT' ? CODES.SIGTERM : CODES.SIGINT, signal: null })
  expect(stderr.match(/stopping at the next safe point/g)).toHaveLength(1)
}, 60_000)

test('one signal held in the same way is a clean stop', async () => {
  expect(await studyWithSignals(['SIGTERM'])).toMatchObject({ code: CODES.SIGTERM, signal: null })
}, 60_000)
