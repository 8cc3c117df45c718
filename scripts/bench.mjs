// npm run bench [-- WORD …]: runs the benches that the words name, writes bench/results and the tables from it.
import { mkdtempSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { appendRows, RESULTS, resultFile } from '../bench/support/results.mjs'
import { runJob } from '../bench/support/run-job.mjs'
import { fullTables } from '../bench/support/table.mjs'
import { buildNativeBench } from './bench/native.mjs'
import { findPeer } from './bench/peers.mjs'
import { allBenches, isSelected, listBenches, selectBenches, UnknownBench } from './bench/select.mjs'
import { writeTables } from './bench/tables.mjs'

const HELP = `npm run bench -- [WORD …] [options]     e.g. npm run bench -- training/ppo

  WORD            part of the name of a bench (training/score, training/ppo, service/load, ops) or of one of its jobs
                  (training/reward-ragged, start-help, rms_norm, 'rms_norm backward'); none: all
  --list          names the benches and their jobs, those alone that the words name where there are any
  --quick         tiny models and shapes, one round: tries the suite, says nothing about speed (results go to a temporary folder)
  --rounds N      rounds of A B A B (default 5 for operations, 3 for training)
  --only WORD     of the contestants only those whose name holds the word (may be repeated); the reference runs anyway
  --threads N     of every side (default: all cores)
  --no-install    do not install Python peers that are missing
  --no-native     without the native executable: no operations, no fractions of the limit
  --table         only write the tables of docs/benchmarks.md and README.md from bench/results

PRUDENT_BENCH_LOCK      a file that is locked (flock) during each load and timed run, on machines that several people share
PRUDENT_BENCH_VERBOSE   show what the sides say on standard error
PRUDENT_PEERS_PYTHON, PRUDENT_PEERS_CLASSIC_PYTHON   interpreters to use instead of installing the peers
`

const OPTIONS = {
  list: { type: 'boolean' },
  quick: { type: 'boolean', default: false },
  rounds: { type: 'string' },
  only: { type: 'string', multiple: true, default: [] },
  threads: { type: 'string', default: String(availableParallelism()) },
  'no-install': { type: 'boolean' },
  'no-native': { type: 'boolean' },
  table: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
}

function say(line) {
  process.stderr.write(`bench: ${line}\n`)
}

async function makeEnvironment(values) {
  const mayInstall = !values['no-install']
  const peers = { today: await findPeer('today', { mayInstall }), classic: await findPeer('classic', { mayInstall }) }
  for (const [name, { missing }] of Object.entries(peers)) {
    if (missing) say(`NO PEER ${name}: ${missing}`)
  }
  return {
    ...{ quick: values.quick, only: values.only, peers, say },
    threads: Number(values.threads),
    nativeBench: values['no-native'] ? undefined : await buildNativeBench(),
    warmups: 0,
  }
}

async function runBench({ bench: { define, run, keepsSides }, jobs }, environment, values, folder) {
  const rounds = Number(values.rounds ?? (values.quick ? 1 : keepsSides ? 5 : 3))
  const context = { ...environment, rounds, kept: keepsSides ? new Map() : undefined }
  const outcome = { rows: [], problems: [] }
  const keep = ({ rows, problems }, job) => {
    appendRows(resultFile(job, folder), rows)
    outcome.rows.push(...rows)
    outcome.problems.push(...problems)
  }
  try {
    if (run) keep(await run(context), jobs[0])
    const defined = define ? await define(context) : []
    for (const job of defined.filter((one) => isSelected(one, jobs)))
      keep(await runJob(job, context), job.name.split(' ')[0])
  } finally {
    for (const { side } of context.kept?.values() ?? []) await side.stop()
  }
  return outcome
}

async function main() {
  const { values, positionals: words } = parseArgs({ options: OPTIONS, allowPositionals: true })
  if (values.help) return process.stdout.write(HELP)
  if (values.table) return writeTables(say)
  const benches = selectBenches(await allBenches(values), words)
  if (values.list) return process.stdout.write(`${listBenches(benches)}\n`)
  const environment = await makeEnvironment(values)
  const folder = values.quick ? mkdtempSync(join(tmpdir(), 'prudent-bench-')) : RESULTS
  const outcome = { rows: [], problems: [] }
  for (const bench of benches) {
    say(bench.file)
    const { rows, problems } = await runBench(bench, environment, values, folder)
    outcome.rows.push(...rows)
    outcome.problems.push(...problems)
  }
  const compared = outcome.rows.filter(({ ratio }) => ratio)
  if (compared.length > 0) process.stdout.write(`${fullTables(compared)}\n`)
  for (const problem of outcome.problems) say(`DIFFERENT RESULTS, no row: ${problem}`)
  say(`${outcome.rows.length} rows in ${folder}`)
  if (!values.quick) writeTables(say)
  process.exitCode = outcome.problems.length > 0 ? 1 : 0
}

try {
  await main()
} catch (error) {
  const isUsage = error.code?.startsWith?.('ERR_PARSE_ARGS')
  if (isUsage || error instanceof UnknownBench) say(`E_USAGE: ${error.message}${isUsage ? `\n${HELP}` : ''}`)
  else say(error.stack ?? error.message)
  process.exitCode = isUsage || error instanceof UnknownBench ? 2 : 1
}
