import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, expect, test } from '@jest/globals'
import { toYaml } from '../../ts/config/yaml-writer.js'
import { freePort, trainOnRanks } from '../support/ranks.js'
import { DATA, fingerprint, steadyMetrics, type TrainRun, writeTinyConfig } from '../support/train-runs.js'

const python = process.env.PRUDENT_PEERS_PYTHON ?? 'python3'
const hasTorchrun = spawnSync(python, ['-c', 'import torch.distributed.run']).status === 0
const withTorchrun = hasTorchrun ? test : test.skip

const folder = mkdtempSync(join(tmpdir(), 'prudent-torchrun-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

async function languageModelRun(name: string): Promise<TrainRun> {
  const architecture = join(folder, 'gemma.json')
  await writeTinyConfig(architecture, 'gemma')
  return {
    kind: 'language-model',
    folder: join(folder, name),
    config: {
      model: { config: architecture, seed: 3 },
      tokenizer: `${DATA}/tokenizers/scorer`,
      data: { source: { path: `${DATA}/imdb/train.parquet`, limit: 120 }, maxLength: 48 },
      training: { batchSize: 16, steps: 40, optimiser: { lr: 1e-3 } },
      saving: { everySteps: 5, keep: 2 },
      dtype: 'float32',
    },
  }
}

function lines(run: TrainRun): number {
  try {
    return readFileSync(join(run.folder, 'metrics.jsonl'), 'utf8').split('\n').length - 1
  } catch {
    return 0
  }
}

/** Processes that torchrun has started: its ranks. */
function ranksOf(launcher: ChildProcess): number[] {
  const { pid } = launcher
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number)
}

withTorchrun(
  'torchrun starts the ranks, starts them again when one is killed, and the run ends with the same files',
  async () => {
    const whole = await languageModelRun('whole')
    expect((await trainOnRanks(whole, 2)).map(({ code, stderr }) => (code === 0 ? 0 : stderr))).toEqual([0, 0])

    const run = await languageModelRun('restarted')
    writeFileSync(`${run.folder}.yaml`, toYaml(run.config))
    const launcher = spawn(
      python,
      [
        ...['-m', 'torch.distributed.run', '--no-python', '--nproc-per-node', '2', '--max-restarts', '1'],
        ...['--monitor-interval', '0.1', '--master-addr', '127.0.0.1', '--master-port', `${await freePort()}`],
        ...[process.execPath, join('bin', 'prudent.js'), 'train', run.kind],
        ...['--config', `${run.folder}.yaml`, '--output', run.folder],
      ],
      { env: { ...process.env, PRUDENT_OFFLINE: '1' } },
    )
    let text = ''
    for (const stream of [launcher.stdout, launcher.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part
      })
    }
    const ended = new Promise<number | null>((resolve) => launcher.on('close', resolve))
    while (lines(run) < 8 && launcher.exitCode === null) await sleep(5)
    const [, second] = ranksOf(launcher)
    process.kill(second as number, 'SIGKILL')
    const code = await ended
    expect({ code, text: code === 0 ? '' : text }).toEqual({ code: 0, text: '' })
    expect(text).toMatch(/going on from step \d+/)
    expect(fingerprint(run.folder)).toEqual(fingerprint(whole.folder))
    expect(steadyMetrics(run.folder)).toEqual(steadyMetrics(whole.folder))
  },
  180_000,
)
