import { basename } from 'node:path'
import type { HubOptions } from '../../data/hub.js'
import { readPair, tokenisePairs } from '../../data/preferences.js'
import { type DataReport, describeReport, emptyReport } from '../../data/report.js'
import { type Row, readRows } from '../../data/rows.js'
import { resolveSource } from '../../data/sources.js'
import { readTexts, tokeniseTexts } from '../../data/texts.js'
import type { Tokenizer } from '../../data/tokenizer.js'
import { PrudentError } from '../../errors.js'
import type { Findings } from './findings.js'
import type { KnownModel } from './model-check.js'
import type { DataNeed } from './needs.js'

/** Rows that are read of each file: enough to meet wrong columns, types and templates, few enough to take a moment. */
const SAMPLE = 200

/** Reads the beginning of every file as training would: columns, forms of rows, chat template, lengths. */
export async function checkData(
  need: DataNeed,
  model: KnownModel | undefined,
  findings: Findings,
  options: HubOptions,
): Promise<void> {
  const files = await findings.check(need.key, async () => (await resolveSource(need.source, options)).files)
  if (files === null) return
  const report = emptyReport()
  const longest = await findings.check(need.key, async () => {
    let tokens = 0
    for (const file of files) tokens = Math.max(tokens, await readSample(file, need, model?.tokenizer ?? null, report))
    if (report.used > 0) return tokens
    throw new PrudentError('E_DATA', `${need.source.path}: no row can be used (${describeReport(report)})`)
  })
  if (longest === null) return
  findings.ok(need.key, `${need.source.path}: ${namesOf(files)}; at the beginning ${describeReport(report)}`)
  checkLengths(need, model, longest, report, findings)
}

function namesOf(files: readonly string[]): string {
  const first = files.slice(0, 3).map((file) => basename(file))
  return first.join(', ') + (files.length > first.length ? ` and ${files.length - first.length} more` : '')
}

/** Tokens of the longest row of a file's sample, before it is cut; 0 where no tokenizer is known. */
async function readSample(
  file: string,
  need: DataNeed,
  tokenizer: Tokenizer | null,
  report: DataReport,
): Promise<number> {
  const limit = { maxLength: Number.MAX_SAFE_INTEGER, overLong: 'truncate-left' } as const
  if (need.rows.kind === 'texts') {
    const { column } = need.rows
    const { texts, report: counts } = await readTexts(beginning(file, [column]), column)
    add(report, counts)
    if (tokenizer === null) return 0
    return longestOf((await tokeniseTexts(tokenizer, texts, limit)).rows)
  }
  const { columns } = need.rows
  const pairs = []
  for await (const row of beginning(file)) pairs.push(readPair(row, columns, report))
  const usable = pairs.filter((pair) => pair !== null)
  if (tokenizer === null) return 0
  const { chosen, rejected } = await tokenisePairs(tokenizer, usable, limit)
  return longestOf([...chosen, ...rejected])
}

async function* beginning(file: string, columns?: readonly string[]): AsyncGenerator<Row> {
  let taken = 0
  for await (const row of readRows([file], columns)) {
    yield row
    if (++taken >= SAMPLE) return
  }
}

function add(report: DataReport, part: DataReport): void {
  for (const key of ['rows', 'used', 'null', 'empty', 'identical', 'truncated', 'overLong'] as const)
    report[key] += part[key]
  for (const key of ['null', 'empty', 'identical', 'overLong'] as const)
    report.examples[key].push(...part.examples[key].slice(0, 5 - report.examples[key].length))
}

function longestOf(rows: readonly Int32Array[]): number {
  return rows.reduce((most, row) => Math.max(most, row.length), 0)
}

/** A prompt takes the first tokens of a text: only rows that are used whole can be too long. */
function checkLengths(
  need: DataNeed,
  model: KnownModel | undefined,
  longest: number,
  report: DataReport,
  findings: Findings,
): void {
  const positions = model?.info?.maxPositions
  const used = Math.min(longest, need.maxLength)
  if (need.rows.kind === 'pairs' && positions !== undefined && used > positions) {
    const message = `rows of up to ${used} tokens go into a model of ${positions} positions: set maxLength to ${positions} or less`
    findings.fail(need.key, 'E_TOO_LONG', message)
  } else if (need.rows.kind === 'pairs' && longest > need.maxLength) {
    const message = `of the first ${report.rows} rows, the longest has ${longest} tokens and is cut to maxLength ${need.maxLength}`
    findings.warn(need.key, message)
  }
}
