/** What an experiment costs, as Markdown tables: stages, and the storage of ten reward models. */
import type { Experiment } from '../study/cost/experiment.js'
import type { StageCost, StorageRow } from '../study/cost/stages.js'
import { significant } from './format.js'
import { textTable } from './text-table.js'

export interface Device {
  name: string | null
  count: number
  peakTflops: number | null
  /** Bytes. */
  memory: number | null
}

export type PlannedStage = StageCost & {
  /** Nothing can be quicker; null without a device. */
  hoursAtPeak: number | null
  /** At the measured rate; null where none is given. */
  hours: number | null
}

/** What a finished run got through. */
export interface SeenRate {
  folder: string
  task: 'reward' | 'policy'
  steps: number
  /** Of all steps together, as are tokens and FLOPs. */
  seconds: number
  tokens: number
  flops: number
}

export interface CostPlan {
  name: string
  /** Its stages are those of the paper's tables 3, 5 and 8. */
  isPaper: boolean
  device: Device
  /** Of one device, as given. */
  tflops: number | null
  /** Of the runs that were named. */
  like: SeenRate[]
  tokens: Experiment['tokens']
  parameters: { scorer: number; policy: number; judge: number }
  stages: PlannedStage[]
  storage: StorageRow[]
}

/** Tables 3, 5 and 8: 4 x A40, in the order of the stages. */
const PAPER_COSTS = ['51 h, 12.68 GB', '7 h, 6.12 GB', '3.86 h, 18.4 GB', '', '']
/** Section 4, in the order of the rows. */
const PAPER_STORAGE = ['about 90 GB', '9.34 GB']

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
function size(bytes: number): string {
  const unit = bytes < 1 ? 0 : Math.min(Math.floor(Math.log2(bytes) / 10), UNITS.length - 1)
  return `${significant(bytes / 1024 ** unit)} ${UNITS[unit]}`
}
const duration = (hours: number | null): string =>
  hours === null ? '' : hours < 0.1 ? `${significant(hours * 3600)} s` : `${significant(hours)} h`

export function costMarkdown(plan: CostPlan): string {
  return [`# What “${plan.name}” costs\n`, stageTable(plan), storageTable(plan), notes(plan)].join('\n')
}

function stageTable({ stages, device, isPaper }: CostPlan): string {
  type Row = PlannedStage & { paper: string }
  const rows: Row[] = stages.map((stage, i) => ({ ...stage, paper: PAPER_COSTS[i] ?? '' }))
  const number = (title: string, cell: (row: Row) => string) => ({ title, numeric: true, cell })
  const resident = ({ memory }: Row) => memory.weights + memory.activations
  const limit = device.memory
  return textTable(
    [
      { title: 'stage', cell: (row: Row) => row.stage },
      number('tokens', (row) => row.tokens.toExponential(2)),
      number('FLOPs', (row) => row.flops.toExponential(2)),
      number('weights, gradients', (row) => size(row.memory.weights)),
      number('optimiser', (row) => size(row.memory.optimiser)),
      number('activations', (row) => size(row.memory.activations)),
      ...(limit === null ? [] : [number('fits one device', (row) => fits(resident(row), row.memory.optimiser, limit))]),
      ...(device.peakTflops === null ? [] : [number('at least', (row) => duration(row.hoursAtPeak))]),
      ...(stages.every(({ hours }) => hours === null)
        ? []
        : [number('at the measured rate', (row) => duration(row.hours))]),
      ...(isPaper ? [number('the paper, 4 × A40', (row) => row.paper)] : []),
    ],
    rows,
  )
}

function fits(resident: number, optimiser: number, limit: number): string {
  if (resident + optimiser <= limit) return 'yes'
  return resident <= limit ? 'with paged optimiser states' : 'no'
}

function storageTable({ storage, isPaper }: CostPlan): string {
  const rows = storage.map((row, i) => ({ ...row, paper: PAPER_STORAGE[i] ?? '' }))
  type Row = (typeof rows)[number]
  return textTable(
    [
      { title: 'on disk', cell: (row: Row) => row.what },
      { title: 'fp32', numeric: true, cell: (row: Row) => size(row.float32) },
      { title: 'bf16', numeric: true, cell: (row: Row) => size(row.bfloat16) },
      ...(isPaper ? [{ title: 'the paper', numeric: true, cell: (row: Row) => row.paper }] : []),
    ],
    rows,
  )
}

function notes({ tokens, device, tflops, like, parameters }: CostPlan): string {
  const { side, prompt, response, template } = tokens
  const sizes = Object.entries(parameters).map(([name, count]) => `${name} ${count.toLocaleString('en')}`)
  const peak =
    device.peakTflops === null
      ? []
      : [
          `“At least”: ${device.count} × ${device.name} at ${device.peakTflops} TFLOP/s, the maker's dense bf16 peak; no run reaches it.`,
        ]
  const rates = tflops === null ? like.map(seenNote) : [`Measured rate: ${tflops} TFLOP/s a device.`]
  return [
    `Parameters without heads: ${sizes.join(', ')}.`,
    `Lengths assumed: ${side} tokens a side of a pair, prompts ${prompt}, responses ${response}, template ${template}. FLOPs and tokens of reward models follow the first in proportion. Padding is not computed; calibration's policies are not counted.`,
    'Weights of bf16 models that are trained have fp32 masters among the optimiser states.',
    ...peak,
    ...(rates.length === 0 ? ['Hours need a rate that was measured: --tflops, or --like a run.'] : rates),
    '',
  ].join('\n\n')
}

function seenNote({ folder, task, steps, seconds, tokens, flops }: SeenRate): string {
  // Of a small model on a CPU far below what a table has digits for.
  const [rate, speed] = [flops / seconds / 1e12, tokens / seconds].map((value) => Number(value.toPrecision(3)))
  return `Measured rate: ${rate} TFLOP/s (${speed} tokens/s) over ${steps} steps of ${folder} (train ${task}).`
}
