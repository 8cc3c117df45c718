// Timed runs in turn: A B C, A B C, … so that whatever slows the machine down for a while meets every contestant.
import { availableParallelism } from 'node:os'
import { busyTicks, loadAverage, TICKS_PER_SECOND, withMachine } from './machine.mjs'

/**
 * @typedef {{ seconds: number, othersBusy: number, peak: number, faults: number, [more: string]: any }} Sample
 * `othersBusy`: cores that other processes kept busy meanwhile; `peak`: most bytes resident during the run.
 */

/** Seconds: in less, the ticks of 10 ms in which the kernel counts say nothing about others. */
const SHORTEST_JUDGED = 0.2

/** One run of one contestant. @returns {Promise<Sample>} */
async function timeOnce(side, params) {
  side.resetPeak()
  const before = { ...side.usage(), busy: busyTicks(), at: performance.now() }
  const result = await side.call('run', params)
  const wall = (performance.now() - before.at) / 1000
  const usage = side.usage()
  const own = usage.cpuTicks - before.cpuTicks
  const others = Math.max(0, busyTicks() - before.busy - own) / TICKS_PER_SECOND / Math.max(wall, SHORTEST_JUDGED)
  const { peak } = side.memory()
  return {
    ...result,
    othersBusy: Math.min(others, availableParallelism()),
    load: loadAverage(),
    peak,
    faults: usage.faults - before.faults,
  }
}

/** Cores that others may keep busy during a run that counts, and how often a disturbed run is done again. */
const QUIET = 0.2
const REPEATS = 2

/** A turn of a side that was idle while the others had theirs. `steps`: the run before it is not timed. */
function takeTurn({ side, params = {}, steps }) {
  return withMachine(async () => {
    if (steps) await side.call('run', params)
    return timeOnce(side, params)
  })
}

/** The least disturbed of up to three turns. */
async function timeQuietly(contestant) {
  let best
  for (let repeat = 0; repeat <= REPEATS; repeat++) {
    const sample = await takeTurn(contestant)
    if (!best || sample.othersBusy < best.othersBusy) best = { ...sample, repeats: repeat }
    if (best.othersBusy <= QUIET) break
  }
  return best
}

/**
 * @param {{ name: string, side: import('./side.mjs').Side, params?: object, steps?: boolean }[]} contestants `steps`: its runs follow
 *   one another without a pause in practice, so that one which isn't timed opens every turn
 * @param {{ rounds: number, warmups: number, progress?: (text: string) => void }} options
 * @returns {Promise<Map<string, Sample[]>>} samples of each, by round
 */
export async function alternate(contestants, { rounds, warmups, progress = () => {} }) {
  const samples = new Map(contestants.map(({ name }) => [name, []]))
  for (let round = -warmups; round < rounds; round++) {
    for (const contestant of contestants) {
      const { name, steps } = contestant
      if (round < 0 && steps) continue
      const sample = await (round < 0 ? takeTurn(contestant) : timeQuietly(contestant))
      const when = round < 0 ? 'warm-up' : `round ${round + 1}/${rounds}`
      const busy = sample.othersBusy > QUIET ? ` (others kept ${sample.othersBusy.toFixed(1)} cores busy)` : ''
      progress(`${when} ${name}: ${sample.seconds.toPrecision(4)} s${busy}`)
      if (round >= 0) samples.get(name).push(sample)
    }
  }
  return samples
}
