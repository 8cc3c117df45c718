import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { PrudentError } from '../../ts/errors.js'
import { RunDirectory } from '../../ts/run/run-directory.js'
import { runLoop, type StepLoop } from '../../ts/training/step-loop.js'
import type { StepMetrics, TrainingContext } from '../../ts/training/types.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'prudent-loop-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

/** A loop over one number, with hooks where a test wants to interfere. */
class Counter implements StepLoop {
  readonly total = 7
  readonly evaluateEvery = 3
  value = 1
  onStep: (index: number) => void = () => {}
  onEvaluate: () => void = () => {}

  async step(index: number) {
    this.onStep(index)
    this.value = this.value * 2 + index
    return { value: this.value }
  }
  async evaluate() {
    this.onEvaluate()
    return { 'eval/loss': 1 / this.value }
  }
  state() {
    return { value: this.value }
  }
  save(into: string) {
    return writeFile(join(into, 'value'), String(this.value))
  }
}

async function attempt(prepare: (loop: Counter) => Partial<TrainingContext>) {
  const run = await RunDirectory.open(folder, { config: {} })
  try {
    const checkpoint = await run.resume()
    const loop = new Counter()
    if (checkpoint) {
      loop.value = Number(await readFile(join(checkpoint.folder, 'value'), 'utf8'))
      expect(checkpoint.state).toEqual({ value: loop.value })
    }
    return await runLoop(loop, { run, checkpoint, saving: { everySteps: 2, keep: 1 }, ...prepare(loop) })
  } finally {
    await run.close()
  }
}

/** Without what depends on the clock. */
function steady(metrics: readonly StepMetrics[]): StepMetrics[] {
  return metrics.map(({ 'time/step': _, ...rest }) => rest as StepMetrics)
}

/** All that was logged, lines of one step joined. */
function joined(metrics: readonly StepMetrics[]): StepMetrics[] {
  const steps = new Map<number, StepMetrics>()
  for (const entry of steady(metrics)) steps.set(entry.step, { ...steps.get(entry.step), ...entry })
  return [...steps.values()]
}

const whole = async () => steady((await runLoop(new Counter(), {})).metrics)

test('evaluates every so often and at the end', async () => {
  const metrics = await whole()
  expect(metrics.map((entry) => entry.step)).toEqual([1, 2, 3, 4, 5, 6, 7])
  expect(metrics.filter((entry) => 'eval/loss' in entry).map((entry) => entry.step)).toEqual([3, 6, 7])
})

test('every step says how long it took, evaluations and saving left out', async () => {
  const loop = new Counter()
  const slow = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds))
  const [step, evaluate] = [loop.step.bind(loop), loop.evaluate.bind(loop)]
  loop.step = async (index) => {
    if (index === 1) await slow(250)
    return step(index)
  }
  loop.evaluate = async () => {
    await slow(250)
    return evaluate()
  }
  const seconds = (await runLoop(loop, {})).metrics.map((entry) => entry['time/step'] ?? Number.NaN)
  expect(seconds).toHaveLength(7)
  expect(seconds[1]).toBeGreaterThan(0.24)
  for (const index of [0, 2, 5, 6]) expect(seconds[index]).toBeLessThan(0.24)
})

test('an abort between steps saves the last complete step', async () => {
  const stop = new AbortController()
  const aborted = attempt(() => ({ signal: stop.signal, onStep: ({ step }) => step === 5 && stop.abort('enough') }))
  await expect(aborted).rejects.toMatchObject({ code: 'E_CANCELLED', name: 'AbortError', cause: 'enough' })
  let first = -1
  const { metrics, steps } = await attempt((loop) => {
    loop.onStep = (index) => {
      first = first < 0 ? index : first
    }
    return {}
  })
  expect(first).toBe(5)
  expect(steps).toBe(7)
  expect(steady(metrics)).toEqual(await whole())
})

test('a step that is cancelled leaves no trace; an evaluation that is cancelled is made up for', async () => {
  for (const kind of ['step', 'evaluate'] as const) {
    const cancelled = attempt((loop) => {
      const cancel = () => {
        throw new PrudentError('E_CANCELLED', 'stopped')
      }
      if (kind === 'step') loop.onStep = (index) => index === 4 && cancel()
      else loop.onEvaluate = () => loop.value > 50 && cancel()
      return {}
    })
    await expect(cancelled).rejects.toMatchObject({ code: 'E_CANCELLED' })
  }
  expect(joined((await attempt(() => ({}))).metrics)).toEqual(await whole())
})

test('any other failure goes back to the last checkpoint', async () => {
  const failing = attempt((loop) => {
    loop.onStep = (index) => {
      if (index === 5) throw new PrudentError('E_NON_FINITE', 'loss')
    }
    return {}
  })
  await expect(failing).rejects.toMatchObject({ code: 'E_NON_FINITE' })
  const seen: number[] = []
  const { metrics } = await attempt((loop) => {
    loop.onStep = (index) => seen.push(index)
    return {}
  })
  expect(seen).toEqual([4, 5, 6])
  expect(steady(metrics)).toEqual(await whole())
})

test('a loss that is no number: step, rows and state are kept aside, the checkpoints stay as they are', async () => {
  const failing = attempt((loop) => {
    Object.assign(loop, { batch: () => ['data.jsonl:3', 'data.jsonl:8'] })
    loop.onStep = (index) => {
      if (index === 5) throw new PrudentError('E_NON_FINITE', 'loss: expected a finite number, received nan')
    }
    return {}
  })
  const message = expect.stringMatching(
    /^step 6: loss: .*batch of 2: data\.jsonl:3, data\.jsonl:8; .*failure holds.*optimiser\.lr/,
  )
  await expect(failing).rejects.toMatchObject({ code: 'E_NON_FINITE', message })
  const kept = JSON.parse(await readFile(join(folder, 'failure', 'failure.json'), 'utf8'))
  const value = await readFile(join(folder, 'failure', 'value'), 'utf8')
  expect(kept).toMatchObject({ step: 6, rows: ['data.jsonl:3', 'data.jsonl:8'], state: { value: Number(value) } })
  expect(kept.metrics.at(-1)).toMatchObject({ step: 5, value: Number(value) })
  expect((await readdir(join(folder, 'checkpoints'))).sort()).toEqual(['step-2', 'step-4'])
})

test('ends early when the loop says so, evaluating once more', async () => {
  const loop = new Counter()
  Object.assign(loop, { isFinished: () => loop.value > 20 })
  const { steps, stoppedEarly, metrics } = await runLoop(loop, {})
  expect({ steps, stoppedEarly }).toEqual({ steps: 4, stoppedEarly: true })
  expect(metrics.at(-1)).toHaveProperty('eval/loss')
})
