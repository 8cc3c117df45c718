import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { RunDirectory } from '../../ts/run/run-directory.js'

const STEPS = 5

/** A run whose "weights" (a number in a file) change by a fixed rule, so that any lost or doubled step shows in the result. */
export async function countedRun(folder: string): Promise<void> {
  const run = await RunDirectory.open(folder, { config: { steps: STEPS, nested: { lr: 1e-5 } }, keep: 1 })
  if (!(await run.isDone())) {
    const checkpoint = await run.resume()
    let weights = checkpoint === null ? 1 : Number(await readFile(join(checkpoint.folder, 'model', 'weights'), 'utf8'))
    for (let step = (checkpoint?.step ?? 0) + 1; step <= STEPS; step++) {
      weights = weights * 3 + step
      await run.log({ step, weights })
      const current = weights
      const write = async (into: string) => {
        await mkdir(join(into, 'model'))
        await writeFile(join(into, 'model', 'weights'), String(current))
      }
      if (step % 2 === 0) await run.saveCheckpoint(step, write, { state: { step } })
    }
    await run.saveModel((into) => writeFile(join(into, 'weights'), String(weights)))
  }
  await run.close()
}
