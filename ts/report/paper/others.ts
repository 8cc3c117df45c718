/**
 * What other commands' summaries say about the paper. They are read by the names of their numbers, wherever those stand, so that the
 * report and the commands need not know each other's shapes.
 */
import { significant } from '../format.js'
import { PAPER, PAPER_VARIANCES } from '../paper-numbers.js'
import { headsBesideSingle } from './benchmark.js'
import type { Ours } from './rows.js'
import { oneResponse, variancesBySection } from './variances.js'

type Kind = 'theory' | 'rewardbench' | 'variance'

export function otherRows(kind: Kind, summary: unknown): Ours[] {
  const readers = summary === null ? null : readersOf(summary)
  return ROWS[kind].map(({ read, ...row }) => ({ ...row, ours: readers && read(readers, summary) }))
}

interface Readers {
  /** Objects that hold these numbers, some perhaps in the object around them, with the end of the path that leads to each. */
  having(...names: string[]): { path: string; values: Record<string, number> }[]
}

function readersOf(summary: unknown): Readers {
  return {
    having(...names) {
      const found: { path: string; values: Record<string, number> }[] = []
      const walk = (at: unknown, path: readonly string[], around: Record<string, number>) => {
        if (typeof at !== 'object' || at === null) return
        const own = numbersOf(at)
        const values = { ...around, ...own }
        const here = [...(nameOf(at) === null ? path : [...path.slice(0, -1), nameOf(at) as string])]
        if (names.every((name) => name in values) && names.some((name) => name in own))
          found.push({ path: here.slice(-2).join(' '), values })
        for (const [key, value] of Object.entries(at)) walk(value, [...here, key], own)
      }
      walk(summary, [], {})
      return found
    },
  }
}

const numbersOf = (at: object): Record<string, number> =>
  Object.fromEntries(Object.entries(at).filter((entry): entry is [string, number] => typeof entry[1] === 'number'))

/** What an entry of a list calls itself. */
function nameOf(at: object): string | null {
  const given = Object.entries(at).find(
    ([key, value]) => /^(name|setting|section|label)$/.test(key) && typeof value === 'string',
  )
  return given ? String(given[1]) : null
}

/** Two settings of figures 3 and 4, by the spread that makes them: the one in which the methods differ more is the highly variable one. */
function gaussian(readers: Readers, high: boolean): string | null {
  const settings = readers
    .having('stdUnaware', 'stdAware', 'meanUnaware', 'meanAware')
    .sort((a, b) => ratio(b.values) - ratio(a.values))
  const found = high ? settings[0] : settings[1]
  if (!found) return null
  const { stdUnaware, stdAware, meanUnaware, meanAware } = found.values as Record<
    'stdUnaware' | 'stdAware' | 'meanUnaware' | 'meanAware',
    number
  >
  const print = (value: number, digits = 2) => significant(value, digits)
  return `${print(stdUnaware)} / ${print(stdAware)}; ${print(meanUnaware, 4)} / ${print(meanAware, 4)}`
}

const ratio = ({ stdUnaware = 0, stdAware = 1 }: Record<string, number>) => stdUnaware / stdAware

function benchmark(readers: Readers): string | null {
  const spelled = (values: Record<string, number>, ...names: string[]) =>
    names.map((name) => values[name]).find((value) => value !== undefined)
  const candidates = ['chat-hard', 'chatHard', 'chat_hard', 'Chat Hard', 'Chat-Hard'].flatMap((name) =>
    readers.having(name),
  )
  // The leaderboard's score is the mean of the heads; a list of scores may hold others too.
  const values = (candidates.find(({ path }) => path.includes('mean')) ?? candidates[0])?.values
  if (!values) return null
  const share = Math.max(...Object.values(values)) <= 1 ? 100 : 1
  const parts = [
    spelled(values, 'overall', 'average', 'score', 'Overall'),
    spelled(values, 'chat', 'Chat'),
    spelled(values, 'chat-hard', 'chatHard', 'chat_hard', 'Chat Hard', 'Chat-Hard'),
    spelled(values, 'safety', 'Safety'),
    spelled(values, 'reasoning', 'Reasoning'),
    spelled(values, 'prior', 'priorSets', 'prior-sets', 'prior_sets', 'Prior Sets'),
  ]
  return parts.map((value) => (value === undefined ? '–' : (share * value).toFixed(1))).join(' | ')
}

const [OWN] = PAPER.table1.filter(({ model }) => model === 'the paper’s model')
const PAPERS_OWN = [OWN?.overall ?? Number.NaN, ...(OWN?.sections ?? [])].map((score) => score.toFixed(1)).join(' | ')

const ROWS: Record<Kind, (Omit<Ours, 'ours'> & { read: (readers: Readers, summary: unknown) => string | null })[]> = {
  theory: [
    {
      item: 'Figure 2',
      quantity: 'three-armed bandit',
      paper: 'the greedy policy picks the worst arm, the variance-aware one does not',
      read: () => 'drawn below',
    },
    {
      item: 'Figure 3',
      quantity: 'variances in (3, 100): standard deviations; means, unaware / aware',
      paper: '0.13 / 0.04; 4.643 / 4.644',
      read: (readers) => gaussian(readers, true),
    },
    {
      item: 'Figure 4',
      quantity: 'variances in (70, 100): standard deviations; means, unaware / aware',
      paper: '0.14 / 0.12; the printed means repeat the deviations',
      read: (readers) => gaussian(readers, false),
    },
    {
      item: 'Figure 5',
      quantity: 'both settings side by side',
      paper: 'figures 3 and 4',
      read: () => 'drawn below',
    },
  ],
  rewardbench: [
    {
      item: 'Table 1',
      quantity: 'average | chat | chat-hard | safety | reasoning | prior sets',
      paper: PAPERS_OWN,
      read: benchmark,
    },
    {
      item: 'Figure 9',
      quantity: 'accuracy of each head beside the single model, from evaluate rewardbench',
      paper: 'on par in all four sections',
      read: (_, summary) => headsBesideSingle(summary),
    },
  ],
  variance: [
    {
      item: 'Figure 1',
      quantity: 'scores of one response, from evaluate variance',
      paper: 'a wide variation over ten models “trained independently”',
      read: (_, summary) => oneResponse(summary),
    },
    {
      item: 'Figure 6',
      quantity: 'variance over heads by section, accepted response, from evaluate variance',
      paper: PAPER_VARIANCES,
      read: (_, summary) => variancesBySection(summary),
    },
  ],
}
