/**
 * Begins a stage of STAGES in this process (argument: STAGE END) or, as a worker thread, the stage of workerData.
 * END: exit, throw, signal; `beside`: process.exit of a main thread that has not loaded the addon, while a worker thread is at the stage; `collect` drops every reference of every stage while its work runs, and lets the process end by itself.
 */
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

const [stage, end] = isMainThread ? process.argv.slice(2) : [workerData as string, 'wait']

async function begin(name: string): Promise<Promise<unknown>[]> {
  const { STAGES } = await import('./life-stages.js')
  const prepare = STAGES[name]
  if (prepare === undefined) throw new Error(`no stage ${name}`)
  const work = (await prepare())({})
  work.catch(() => {})
  // In an array, because awaiting a promise would await the work.
  return [work]
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

if (end === 'beside') {
  await once(new Worker(new URL(import.meta.url), { workerData: stage }), 'message')
  process.exit(7)
} else if (end === 'collect') {
  const { STAGES } = await import('./life-stages.js')
  for (const name of Object.keys(STAGES)) {
    await begin(name)
    for (let turn = 0; turn < 5; turn++) {
      globalThis.gc?.()
      await pause(5)
    }
  }
  process.exitCode = 7
} else {
  const [work] = await begin(stage as string)
  await pause(15)
  if (end === 'exit') process.exit(7)
  if (end === 'throw') throw new Error('uncaught')
  if (end === 'signal') process.kill(process.pid, 'SIGTERM')
  parentPort?.postMessage('at work')
  await work
  await pause(60_000)
}
