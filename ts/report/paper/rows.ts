/** Every table and figure of the paper, in its order: what it says, what ours says, and the command that makes ours. */
import type { Source } from '../sources.js'
import { experimentRows } from './experiment.js'
import { judgeRows } from './judged.js'
import { otherRows } from './others.js'
import { studyRows } from './study.js'

export interface PaperRow {
  /** "Figure 7", "Table 1". */
  item: string
  quantity: string
  paper: string
  /** null: not in the folders that this report is made of. */
  ours: string | null
  command: string
}

export type Ours = Omit<PaperRow, 'command'>

const FOLDER = 'FOLDER'
export const COMMANDS = {
  study: `npx prudent reproduce --config CONFIG --output ${FOLDER}`,
  judge: `npx prudent judge --config CONFIG --output ${FOLDER}`,
  theory: `npx prudent theory --output ${FOLDER}`,
  rewardbench: `npx prudent evaluate rewardbench --model MODEL --data DATA --output ${FOLDER}`,
  variance: `npx prudent evaluate variance --model MODEL --data DATA --output ${FOLDER}`,
} as const

/** What a summary says of the command that made it, where it stands. */
function ownCommand(summary: unknown, folder: string): string | null {
  const { command } = (summary ?? {}) as { command?: unknown }
  return typeof command === 'string' && command !== '' ? `${command} --output ${folder}` : null
}

const quantityOf = ({ item, quantity }: PaperRow): string => `${item}: ${quantity}`

/** Rows of the paper in its order; where two sources speak of one quantity both are kept. */
export function paperRows(sources: readonly Source[]): PaperRow[] {
  const of = <Kind extends Source['kind']>(kind: Kind) =>
    sources.filter((source): source is Extract<Source, { kind: Kind }> => source.kind === kind)
  // A run's own config.yaml makes it again; what was never made begins with the one that the repository has.
  const command = (kind: keyof typeof COMMANDS, folder?: string) =>
    folder === undefined
      ? COMMANDS[kind].replace('CONFIG', kind === 'judge' ? 'judge.yaml' : 'configs/laptop.yaml')
      : COMMANDS[kind].replace('CONFIG', `${folder}/config.yaml`).replace(FOLDER, folder)
  const rows: PaperRow[] = []
  const add = (found: readonly Ours[], text: string) => rows.push(...found.map((row) => ({ ...row, command: text })))
  const studies = of('study')
  const experiments = of('experiment')
  if (studies.length + experiments.length === 0) add(studyRows(null), command('study'))
  for (const { summary, folder } of studies) add(studyRows(summary), command('study', folder))
  for (const { summary, folder } of experiments) add(experimentRows(summary), command('study', folder))
  for (const { summary, folder } of of('judge')) add(judgeRows(summary), command('judge', folder))
  for (const kind of ['theory', 'rewardbench', 'variance'] as const) {
    const present = of(kind)
    if (present.length === 0) add(otherRows(kind, null), command(kind))
    for (const { summary, folder } of present)
      add(otherRows(kind, summary), ownCommand(summary, folder) ?? command(kind, folder))
  }
  const place = ({ item }: PaperRow) => (item.startsWith('Table') ? 100 : 0) + Number(item.replace(/\D/g, ''))
  const made = new Set(rows.flatMap((row) => (row.ours === null ? [] : [quantityOf(row)])))
  return rows
    .filter((row) => row.ours !== null || !made.has(quantityOf(row)))
    .map((row, at) => ({ row, at }))
    .sort((a, b) => place(a.row) - place(b.row) || a.at - b.at)
    .map(({ row }) => row)
}

export interface CommandItems {
  command: string
  items: string[]
}

/** Every command once, with the figures and tables that it makes. */
export function itemsByCommand(rows: readonly PaperRow[]): CommandItems[] {
  const commands = [...new Set(rows.map((row) => row.command))]
  return commands.map((command) => ({
    command,
    items: [...new Set(rows.filter((row) => row.command === command).map((row) => row.item))],
  }))
}
