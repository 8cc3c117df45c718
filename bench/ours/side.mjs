// Our side of a comparison: prudent through its public API, as a user would call it.
import { answerCalls } from '../support/answer.mjs'

let job

const methods = {
  /** Threads are set before anything computes. */
  async hello({ threads }) {
    const { configureExecutor, systemInfo } = await import('../../dist/ts/index.js')
    configureExecutor({ lanes: 1, threadsPerLane: threads })
    const { prudent, libtorch, cpu } = systemInfo()
    return { versions: { prudent, libtorch, node: process.version }, capability: cpu.capability, bf16: cpu.bf16 }
  },
  async load({ job: name, options }) {
    const { load } = await import(`./${name}.mjs`)
    job = await load(options)
    return { held: job.held }
  },
  check: (params) => job.check(params),
  run: (params) => job.run(params),
}

await answerCalls(methods)
