// One job from start to rows: start every contestant, hold their results equal, time them in turn, measure the limit, write rows.
import { root } from '../../scripts/setup/folders.mjs'
import { alternate } from './alternate.mjs'
import { CommandSide } from './command-side.mjs'
import { allowedErrors, compareResults, TOLERANCES } from './equal.mjs'
import { limitSeconds, mergeProducts } from './limit.mjs'
import { describeCommit, describeMachine, releaseMachine, withMachine } from './machine.mjs'
import { startSide } from './sides.mjs'
import { quantile, speedRatio, spread } from './statistics.mjs'

/**
 * @typedef {object} Contestant
 * @property {string} name e.g. 'ours bf16'
 * @property {'ours' | 'native' | 'today' | 'classic'} kind
 * @property {'float32' | 'bfloat16'} dtype of its matrix products
 * @property {string} job module of bench/ours or bench/peers/jobs
 * @property {object} options
 * @property {object} [params] of its checks and runs
 * @property {string} [like] works in the process of this other contestant (named before it), with other params
 * @property {boolean} [checked] false: a training step that its process' first check has left no fresh weights for
 * @property {boolean} [timed] false: only compared with
 * @property {boolean} [optional] left out, with its reason, where it fails instead of failing the job
 * @property {boolean} [limited] false: the job's limit is not this contestant's
 * @property {string} [keepAs] which kept side works for it
 * @property {{ command: string, args: string[], parse?: Function }} [command] a process to start for every run, instead of a job
 *
 * @typedef {object} Comparison one row of the table
 * @property {string} ours
 * @property {string} peer
 * @property {string} [saves] what ours does not do
 * @property {{ ratio?: number, memory?: number, above?: number, seconds?: number, note?: string }} [goal]
 *
 * @typedef {object} Job
 * @property {string} name
 * @property {string} what
 * @property {Contestant[]} contestants
 * @property {Comparison[]} comparisons
 * @property {string} reference the contestant that results are compared with
 * @property {Record<string, number | Record<string, number>>} [tolerances] by dtype
 * @property {Record<string, { reference: string, tolerances: Record<string, number | null> }>} [also] by dtype: a second reference of the
 *   same dtype, for results that the dtype itself moves (an update that bf16 weights round away)
 * @property {Record<string, { reference: string, yardstick: string, factor: number, floor: number, most: number }>} [truths] by dtype, instead of
 *   both: what contestants are compared with, and the one by whose error ours is judged
 * @property {{ products?: import('./limit.mjs').Product[], extraFlops?: number, copyOf?: string }} [limit]
 * @property {boolean} [steps] its runs are steps of a loop: see alternate.mjs
 * @property {Record<string, string>} [about] sizes, for the row
 */

/**
 * @param {Job} job
 * @param {object} environment threads, peers, nativeBench, rounds, warmups, only, quick, say
 * @returns {Promise<{ rows: object[], problems: string[] }>}
 */
export async function runJob(job, environment) {
  const { say } = environment
  const { present, absent } = divide(job, environment)
  for (const { name, why } of absent) say(`${job.name}: ${name} is left out: ${why}`)
  const started = []
  try {
    for (const contestant of present) started.push(await start(contestant, environment, started))
    const problems = await check(job, started, say)
    const wrong = new Set(problems.map(({ name }) => name))
    const right = started.filter(({ name, timed }) => timed !== false && !wrong.has(name))
    const fit = right.map((one) => ({ ...one, steps: job.steps }))
    const limit = await startLimit(job, started, environment)
    if (limit) started.push(limit)
    const measured = await alternate(limit ? [...fit, ...limit.contestants] : fit, { ...environment, progress: say })
    const rows = makeRows(job, fit, measured, limit, environment)
    return { rows, problems: problems.flatMap(({ text }) => text ?? []) }
  } finally {
    await releaseMachine()
    if (!environment.kept) await Promise.all(started.map(({ side }) => side.stop()))
  }
}

/** A side of its own, or, where a caller keeps sides over many small jobs, the one that is there already. */
async function obtainSide(kind, name, environment, command) {
  const known = environment.kept?.get(name)
  if (known) return known
  const obtained = command
    ? { side: new CommandSide({ name, cwd: root, ...command }), hello: { versions: {} } }
    : await startSide(kind, name, environment)
  environment.kept?.set(name, obtained)
  return obtained
}

function divide(job, { peers, only = [], nativeBench }) {
  const comparedWith = namesComparedWith(job)
  const isNamed = ({ name }) =>
    only.length === 0 || comparedWith.includes(name) || only.some((word) => name.includes(word))
  const hosts = new Set(job.contestants.filter(isNamed).map(({ like }) => like))
  const wanted = job.contestants.filter((one) => isNamed(one) || hosts.has(one.name))
  const whyAbsent = ({ kind }) =>
    kind === 'native' ? (nativeBench ? undefined : 'it is not built') : peers[kind]?.missing
  return {
    present: wanted.filter((one) => whyAbsent(one) === undefined),
    absent: wanted
      .filter((one) => whyAbsent(one) !== undefined)
      .map((one) => ({ name: one.name, why: whyAbsent(one) })),
  }
}

async function start(contestant, environment, started) {
  const { kind, name, keepAs = name, command, like, params = {} } = contestant
  const twin = started.find((other) => other.name === like)
  if (twin) return { ...twin, ...contestant, params }
  const { side, hello } = await obtainSide(kind, keepAs, environment, command)
  try {
    const idle = side.memory().resident
    const loading = () => side.call('load', { job: contestant.job, options: contestant.options })
    const { held, bytes } = await withMachine(loading)
    if (!environment.kept) environment.say(`${name}: loaded`)
    return { ...contestant, side, idle, held, bytes, versions: hello.versions, params }
  } catch (error) {
    await side.stop()
    throw error
  }
}

/** @returns {Promise<{ name: string, text: string }[]>} contestants that cannot be timed: their results differ from the reference's */
async function check(job, started, say) {
  const checked = started.filter((contestant) => contestant.checked !== false)
  const results = new Map()
  for (const contestant of checked) results.set(contestant.name, await resultsOf(contestant))
  const absent = namesComparedWith(job).filter((name) => !results.has(name))
  if (absent.length > 0) say(`${job.name}: NOT CHECKED, the reference (${absent.join(', ')}) is not there`)
  return checked.flatMap(({ name, dtype }) => {
    const own = results.get(name)
    if (own instanceof Error) {
      say(`${job.name}: ${name} is left out: ${own.message.trim().split('\n').at(-1)}`)
      return [{ name }]
    }
    return referencesOf(job, { name, dtype }, results)
      .filter(({ reference }) => reference !== name && results.has(reference))
      .flatMap((one) => differences({ job, name, own, ...one, truth: results.get(one.reference), say }))
  })
}

function namesComparedWith({ reference, truths = {} }) {
  return [reference, ...Object.values(truths).map((one) => one.reference)]
}

/**
 * What a contestant of this dtype is compared with: the truth of its dtype where the job has one; else the job's reference, and where
 * there is one the reference of its own dtype.
 */
function referencesOf(job, { name, dtype }, results) {
  const { reference, tolerances = TOLERANCES, also = {}, truths = {} } = job
  const isOurs = job.comparisons.some(({ ours }) => ours === name)
  if (truths[dtype]) return [truthOf(truths[dtype], isOurs, results)]
  return [{ reference, tolerances: tolerances[dtype] }, ...(also[dtype] ? [also[dtype]] : [])]
}

/** The truth and what a contestant may be off from it; a peer only by what is no gross mistake. */
function truthOf({ reference, yardstick, ...rule }, isOurs, results) {
  const truth = results.get(reference)
  const measured = isOurs && truth && results.get(yardstick)
  const errors = measured ? compareResults(measured, truth, rule.most).errors : undefined
  return { reference, tolerances: allowedErrors(errors, rule) }
}

/** What a contestant computes; of an optional one also the error that it ends with. */
async function resultsOf({ side, params, optional }) {
  try {
    return await withMachine(() => side.call('check', params))
  } catch (error) {
    if (optional) return error
    throw error
  }
}

function differences({ job, name, own, reference, tolerances, truth, say }) {
  const { errors, problems } = compareResults(own, truth, tolerances)
  const shown = Object.entries(errors).map(([quantity, error]) => `${quantity} ${error.toPrecision(2)}`)
  say(`${name}: against ${reference}: ${shown.join(', ')}${problems.length > 0 ? ' DIFFERENT' : ''}`)
  return problems.length > 0
    ? [{ name, text: `${job.name}: ${name}: against ${reference}: ${problems.join('; ')}` }]
    : []
}

/** The native executable measures what cannot be avoided in the same rounds: matrix products of each dtype, or a copy of as many bytes. */
async function startLimit(job, started, environment) {
  if (!job.limit || !environment.nativeBench) return undefined
  const measures = job.limit.copyOf ? copyMeasures(job, started) : productMeasures(job)
  if (measures.length === 0) return undefined
  const { side } = await obtainSide('native', 'limit', environment)
  return { side, contestants: measures.map((measure) => ({ ...measure, name: `limit ${measure.dtype}`, side })) }
}

function copyMeasures({ limit }, started) {
  const { dtype, bytes } = started.find(({ name }) => name === limit.copyOf) ?? {}
  if (!bytes) return []
  const toLimit = (samples) => {
    const seconds = Math.min(...samples.map((sample) => sample.seconds))
    return { seconds, bytesPerSecond: bytes / seconds }
  }
  return [{ dtype, params: { copy: bytes }, toLimit }]
}

function productMeasures({ limit, contestants }) {
  const products = mergeProducts(limit.products)
  const toLimit = (samples) => {
    const best = products.map((_, index) => Math.min(...samples.map(({ each }) => each[index])))
    return limitSeconds(products, best, limit.extraFlops)
  }
  const shapes = products.map(({ m, n, k }) => [m, n, k])
  const dtypes = [...new Set(contestants.map(({ dtype }) => dtype))]
  return dtypes.map((dtype) => ({ dtype, params: { matmul: { dtype, products: shapes } }, toLimit }))
}

function summarise(contestant, samples, limits) {
  const seconds = samples.map((sample) => sample.seconds)
  const peak = Math.max(...samples.map((sample) => sample.peak))
  const { p20, p50, p80 } = spread(seconds)
  const limit = contestant.limited === false ? undefined : limits?.[contestant.dtype]
  return {
    name: contestant.name,
    dtype: contestant.dtype,
    ...{ p20, p50, p80 },
    samples: seconds,
    parts: parts(samples),
    peakBytes: peak,
    heldBytes: contestant.held,
    // Above what must be there: the process itself, weights, gradients and optimiser states.
    aboveHeldBytes: Math.max(0, peak - contestant.idle - contestant.held),
    ...(samples[0].tokens === undefined ? {} : { tokensPerSecond: samples[0].tokens / p50 }),
    ...(limit === undefined ? {} : { ofLimit: limit.seconds / p50, limit }),
    faults: quantile(
      samples.map((sample) => sample.faults),
      0.5,
    ),
    othersBusy: quantile(
      samples.map((sample) => sample.othersBusy),
      0.8,
    ),
    versions: contestant.versions,
  }
}

/** Medians of the named parts of a run, e.g. rolloutSeconds and updateSeconds. */
function parts(samples) {
  const names = Object.keys(samples[0]).filter((name) => /.Seconds$/.test(name))
  const middle = (name) =>
    quantile(
      samples.map((sample) => sample[name]),
      0.5,
    )
  return Object.fromEntries(names.map((name) => [name, middle(name)]))
}

function makeRows(job, fit, measured, limit, environment) {
  const limits =
    limit &&
    Object.fromEntries(limit.contestants.map(({ name, dtype, toLimit }) => [dtype, toLimit(measured.get(name))]))
  const byName = new Map(fit.map((one) => [one.name, summarise(one, measured.get(one.name), limits)]))
  const common = {
    date: new Date().toISOString(),
    job: job.name,
    quick: environment.quick,
    threads: environment.threads,
    about: job.about,
    ...describeCommit(),
    machine: describeMachine(),
  }
  return job.comparisons
    .filter(({ ours, peer }) => byName.has(ours) && byName.has(peer))
    .map(({ ours, peer, saves, goal }) => {
      const [a, b] = [byName.get(ours), byName.get(peer)]
      return {
        ...common,
        row: `${ours} / ${peer}`,
        saves,
        goal,
        ours: a,
        peer: b,
        ratio: speedRatio(a.samples, b.samples),
      }
    })
}
