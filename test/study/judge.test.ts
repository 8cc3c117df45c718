import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, expect, test } from '@jest/globals'
import { loadAddon } from '../../ts/addon/load.js'
import { toYaml } from '../../ts/config/yaml-writer.js'
import { mean, variance } from '../../ts/evaluation/describe.js'
import { type JudgeSummary, judgeSummarySchema } from '../../ts/study/judge/summary.js'
import { pitmanMorgan } from '../../ts/study/statistics/tests.js'
import { runCommand } from '../support/run-command.js'
import { DATA, writeTinyConfig } from '../support/train-runs.js'

const folder = mkdtempSync(path.join(tmpdir(), 'prudent-judge-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const at = (...names: string[]) => path.join(folder, ...names)

async function writeModel(into: string, kind: 'gpt2' | 'gemma', seed: number, heads?: number): Promise<void> {
  await writeTinyConfig(at('config.json'), kind)
  const common = { dtype: 'float32', device: 'cpu', seed } as const
  const task = heads
    ? ({ task: 'sequence-classification', numLabels: heads, allowNewHead: true } as const)
    : ({ task: 'causal-lm' } as const)
  const model = await loadAddon().createModel(readFileSync(at('config.json'), 'utf8'), { ...common, ...task })
  mkdirSync(into, { recursive: true })
  await model.save(into)
  await model.dispose()
  cpSync(path.join(DATA, 'tokenizers', kind === 'gpt2' ? 'policy' : 'scorer'), into, { recursive: true })
}

const config = () => ({
  judge: { model: at('judge'), maxLength: 64 },
  reference: at('reference'),
  groups: [
    { name: 'vanilla', policies: [at('vanilla')] },
    { name: 'careful', policies: [0, 1, 2, 3].map((i) => ({ path: at('careful', `${i}`), head: `#${i}` })) },
  ],
  prompts: { source: { path: `${DATA}/imdb/test.parquet`, limit: 60 }, longerThan: 20 },
  responses: 24,
  sampling: { maxNewTokens: 6 },
  resamples: 200,
})

const judge = async (name: string, ...more: string[]) => {
  const result = await runCommand(['judge', '--config', at('judge.yaml'), '--output', at(name), ...more])
  return result
}
const summaryOf = (name: string): JudgeSummary =>
  judgeSummarySchema.parse(JSON.parse(readFileSync(at(name, 'summary.json'), 'utf8')))

beforeAll(async () => {
  await writeModel(at('reference'), 'gpt2', 1)
  await writeModel(at('judge'), 'gemma', 2, 2)
  for (const i of [0, 1, 2, 3]) {
    // One group as run directories, the other as plain folders; policy 0 of the second is the reference itself.
    await writeModel(at('vanilla', `run-${i}`, 'model'), 'gpt2', 10 + i)
    await writeModel(at('careful', `${i}`), 'gpt2', i === 0 ? 1 : 20 + i)
  }
  writeFileSync(at('judge.yaml'), toYaml(config()))
  const { code, stderr, stdout } = await judge('out')
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout.trim()).toBe(at('out', 'report.html'))
}, 120_000)

test('one mean a policy, the reference sampled as often; the reference as a policy has no KL to itself', () => {
  const { reference, groups, judge: used } = summaryOf('out')
  expect(used.heads).toBe(2)
  expect(reference.means).toHaveLength(4)
  expect(new Set(reference.means).size).toBe(4)
  expect(groups.map((group) => group.policies.length)).toEqual([4, 4])
  expect(groups.flatMap((group) => group.policies.map((policy) => policy.head))).toEqual([
    '#0',
    '#1',
    '#2',
    '#3',
    '#0',
    '#1',
    '#2',
    '#3',
  ])
  const kls = groups[1]?.policies.map((policy) => policy.kl) ?? []
  expect(Math.abs(kls[0] as number)).toBeLessThan(1e-6)
  for (const kl of kls.slice(1)) expect(kl).toBeGreaterThan(1e-3)
})

test('variances, risks and the paired test follow from the means', () => {
  const { reference, groups, comparisons } = summaryOf('out')
  const means = groups.map((group) => group.policies.map((policy) => policy.mean)) as [number[], number[]]
  groups.forEach((group, i) => {
    expect(group.variance).toBeCloseTo(variance(means[i] as number[]), 12)
    expect(group.riskBelowReference).toBe(
      (means[i] as number[]).filter((value) => value < mean(reference.means)).length / 4,
    )
  })
  const [comparison] = comparisons
  expect(comparison).toMatchObject({ baseline: 'vanilla', treatment: 'careful', clusters: 4 })
  expect(comparison?.pitmanMorgan).toEqual(pitmanMorgan(means[1], means[0]))
  expect(comparison?.varianceRatio.estimate).toBeCloseTo(variance(means[1]) / variance(means[0]), 10)
})

test('what was judged is kept; a policy with new weights is judged again, and it alone', async () => {
  const stamp = () => statSync(at('out', 'summary.json')).mtimeMs
  const before = { summary: summaryOf('out'), stamp: stamp() }
  expect((await judge('out')).code).toBe(0)
  expect(summaryOf('out')).toEqual(before.summary)
  await writeModel(at('careful', '3'), 'gpt2', 77)
  expect((await judge('out')).code).toBe(0)
  const [old, now] = [before.summary, summaryOf('out')]
  const changed = now.groups.flatMap((group, g) =>
    group.policies.filter((policy, i) => policy.mean !== old.groups[g]?.policies[i]?.mean),
  )
  expect(changed.map((policy) => policy.model)).toEqual([at('careful', '3')])
}, 180_000)

test('the page draws the distribution and prints the comparison', () => {
  const text = readFileSync(at('out', 'report.html'), 'utf8')
  expect(text).toContain('<svg')
  expect(text).toContain('careful against vanilla')
})

test('what cannot be judged is refused by name', async () => {
  mkdirSync(at('empty'))
  for (const [change, code, named] of [
    ['groups=[{name: a, policies: [x]}, {name: a, policies: [y]}]', 2, 'groups.1.name'],
    [
      `groups=[{name: a, policies: [${at('vanilla', 'run-0')}]}, {name: b, policies: [${at('vanilla')}]}]`,
      2,
      'at least 3 heads',
    ],
    [`groups=[{name: a, policies: [${at('empty')}]}]`, 1, 'neither a model nor a folder of models'],
    [`judge.model=${at('nowhere')}`, 1, 'nowhere'],
  ] as const) {
    const result = await judge('bad', '--set', change)
    expect({ change, code: result.code, stderr: result.stderr }).toMatchObject({ change, code })
    expect(result.stderr).toContain(named)
  }
}, 180_000)

test('the reference as the baseline has no KL that another could be held against', async () => {
  const base = Array.from({ length: 4 }, () => at('reference')).join(', ')
  const groups = `groups=[{name: base, policies: [${base}]}, {name: vanilla, policies: [${at('vanilla')}]}]`
  expect(await judge('base', '--set', groups)).toMatchObject({ code: 0 })
  const [comparison] = summaryOf('base').comparisons
  expect(comparison).toMatchObject({ baseline: 'base', treatment: 'vanilla', klDifference: null })
  expect(comparison?.meanDifference.low).toBeLessThan(comparison?.meanDifference.high ?? 0)
}, 180_000)
