import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { type Summary, summarySchema } from '../../ts/study/summary.js'
import { type CommandResult, runCommand } from '../support/run-command.js'

const SMOKE = ['reproduce', '--config', 'configs/laptop-smoke.yaml', '--output']
const folder = mkdtempSync(path.join(tmpdir(), 'prudent-study-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const runFolder = (name: string) => path.join(folder, name)
const reproduce = (name: string, ...more: string[]) => runCommand([...SMOKE, runFolder(name), ...more])
const summaryOf = (name: string): Summary =>
  JSON.parse(readFileSync(path.join(runFolder(name), 'summary.json'), 'utf8'))

interface Report {
  sources: { kind: string; folder: string }[]
  paper: { item: string; ours: string | null; command: string }[]
}
const readReport = (name: string): Report => JSON.parse(readFileSync(path.join(runFolder(name), 'report.json'), 'utf8'))

/** What must not depend on how often a run was stopped. */
function numbersOf(summary: Summary) {
  const { timings, peakMemoryBytes, environment, ...numbers } = summary
  return numbers
}

/** Runs, and kills the process at once when a stage begins that none was killed at before; null when it ended by itself. */
async function runAndKill(name: string, killed: Set<string>): Promise<CommandResult | null> {
  let wasKilled = false
  const result = await runCommand([...SMOKE, runFolder(name)], {
    input: '',
    started: (child) => {
      child.stderr?.on('data', (text: string) => {
        const stage = /^(\S+) …$/m.exec(text)?.[1]
        if (stage === undefined || killed.has(stage) || wasKilled) return
        killed.add(stage)
        wasKilled = child.kill('SIGKILL')
      })
    },
  })
  return result.signal === 'SIGKILL' ? null : result
}

let whole: CommandResult
beforeAll(async () => {
  whole = await reproduce('whole')
}, 120_000)

describe('prudent reproduce at its smallest size', () => {
  test('runs every stage, prints the report on standard output alone, and ends with 0', () => {
    expect({ code: whole.code, stderr: whole.code === 0 ? '' : whole.stderr }).toEqual({ code: 0, stderr: '' })
    expect(whole.stdout.trim()).toBe(path.join(runFolder('whole'), 'report.html'))
    expect(statSync(whole.stdout.trim()).size).toBeGreaterThan(10_000)
  })

  test('writes a summary of the documented form, with every policy of the plan', () => {
    const summary = summarySchema.parse(summaryOf('whole'))
    expect(summary.arms.map((arm) => arm.policies)).toEqual(summary.arms.map(() => 6))
    expect(summary.policies).toHaveLength(summary.arms.length * 6)
    expect(summary.figures.accuracies.length).toBeGreaterThan(0)
    expect(summary.verdicts.list.filter((verdict) => verdict.primary)).toHaveLength(1)
    // Six steps of training train nothing, and the study says so.
    expect(summary.headline.outcome).toBe('not trained')
  })

  test('theory, RewardBench, variances and the sources of sigma stand in the one report, with all of the paper but figure 12', () => {
    const report = readReport('whole')
    const variances = [expect.objectContaining({ kind: 'variance' }), expect.objectContaining({ kind: 'variance' })]
    expect(report.sources).toEqual([
      expect.objectContaining({ kind: 'study' }),
      expect.objectContaining({ kind: 'theory' }),
      expect.objectContaining({ kind: 'rewardbench' }),
      ...variances,
      expect.objectContaining({ folder: expect.stringMatching(/sources$/) }),
    ])
    const missing = report.paper.filter((row) => row.ours === null).map((row) => row.item)
    // Six policies a method stand beside the paper's forty, not its hundred.
    expect([...new Set(missing)]).toEqual(['Figure 12'])
    const page = readFileSync(path.join(runFolder('whole'), 'report.html'), 'utf8')
    for (const text of ['Theorem 2.2', 'GRM-Gemma-2B-sftreg', 'AUROC', 'trained in full on their own', 'laplace'])
      expect(page).toContain(text)
    expect(readFileSync(path.join(runFolder('whole'), 'report.md'), 'utf8')).toContain('prudent evaluate rewardbench')
  })

  test('the command beside a table makes it again, to the byte', async () => {
    const file = path.join(runFolder('whole'), 'rewardbench', 'summary.json')
    const before = readFileSync(file, 'utf8')
    const { command } = readReport('whole').paper.find((row) => row.item === 'Table 1') as { command: string }
    rmSync(file)
    const again = await runCommand(command.replace('npx prudent ', '').split(' '))
    expect({ code: again.code, stderr: again.code === 0 ? '' : again.stderr }).toEqual({ code: 0, stderr: '' })
    expect(readFileSync(file, 'utf8')).toBe(before)
  }, 60_000)

  test('what is gone from its folder is made again, and nothing else', async () => {
    rmSync(path.join(runFolder('whole'), 'theory'), { recursive: true })
    rmSync(path.join(runFolder('whole'), 'models', 'reward'))
    const again = await reproduce('whole')
    expect([...again.stderr.matchAll(/^(\S+) …$/gm)].map((match) => match[1])).toEqual(['models', 'theory'])
    expect(readReport('whole').sources.map((source) => source.kind)).toContain('theory')
  }, 60_000)

  test('a second run finds everything done and changes nothing', async () => {
    const before = numbersOf(summaryOf('whole'))
    const again = await reproduce('whole')
    expect(again.code).toBe(0)
    expect(again.stderr).not.toContain(' …')
    expect(numbersOf(summaryOf('whole'))).toEqual(before)
  }, 60_000)

  test('killed at every stage, it goes on and ends with the same numbers', async () => {
    const killed = new Set<string>()
    let last: CommandResult | null = null
    for (let i = 0; i < 60 && last === null; i += 1) last = await runAndKill('killed', killed)
    expect({ code: last?.code, stderr: last?.code === 0 ? '' : last?.stderr }).toEqual({ code: 0, stderr: '' })
    expect(killed.size).toBeGreaterThanOrEqual(20)
    expect(numbersOf(summaryOf('killed'))).toEqual(numbersOf(summaryOf('whole')))
  }, 240_000)

  test('stopped by a signal it exits with 130, keeps finished policies and never trains one twice', async () => {
    const name = 'stopped'
    const stopped = await runCommand([...SMOKE, runFolder(name)], {
      input: '',
      started: (child) => {
        // One signal only: a second would end the process at once.
        const timer = setInterval(() => {
          if (policyFiles(name).length === 0) return
          clearInterval(timer)
          child.kill('SIGINT')
        }, 5)
        child.on('close', () => clearInterval(timer))
      },
    })
    expect(stopped.code).toBe(130)
    const before = policyFiles(name)
    expect(before.length).toBeGreaterThan(0)
    expect((await reproduce(name)).code).toBe(0)
    const after = new Map(policyFiles(name))
    for (const [file, modified] of before) expect(after.get(file)).toBe(modified)
    expect(numbersOf(summaryOf(name))).toEqual(numbersOf(summaryOf('whole')))
  }, 120_000)

  test('another seed changes the numbers and not the form', async () => {
    expect((await reproduce('seeded', '--set', 'seed=21')).code).toBe(0)
    const [first, second] = [summaryOf('whole'), summarySchema.parse(summaryOf('seeded'))]
    expect(second.arms.map((arm) => arm.id)).toEqual(first.arms.map((arm) => arm.id))
    expect(second.policies.map((policy) => policy.truth)).not.toEqual(first.policies.map((policy) => policy.truth))
    expect(second.rewardModel.loss).not.toEqual(first.rewardModel.loss)
  }, 120_000)

  test('a changed rule redoes no stage', async () => {
    const changed = await reproduce('whole', '--set', 'verdict.level=0.9')
    expect(changed.code).toBe(0)
    expect(changed.stderr).not.toContain(' …')
    expect(summaryOf('whole').verdicts.level).toBe(0.9)
  }, 60_000)

  test('every arm but vanilla tells how its KL was matched; the policies compared are those of the attempt used', () => {
    const summary = summaryOf('whole')
    const attempts = summary.calibration.map(({ refinement }) => refinement?.attempts.length ?? 0)
    expect(summary.calibration.map(({ arm }) => arm.endsWith('/vanilla'))).toEqual(attempts.map((count) => count === 0))
    // The smoke config's tolerance lets no arm match.
    expect(attempts.filter((count) => count > 0)).toEqual([2, 2, 2])
    for (const { arm, refinement } of summary.calibration) {
      const used = refinement?.attempts.find((attempt) => attempt.used)
      if (!used) continue
      const own = summary.policies.filter((policy) => policy.arm === arm)
      expect(own.map((policy) => policy.beta)).toEqual(own.map(() => used.beta))
      expect(summary.arms.find((entry) => entry.id === arm)?.beta).toBe(used.beta)
      const byTruth = summary.verdicts.list.find((verdict) => verdict.treatment === arm && verdict.judge === 'truth')
      expect(byTruth?.klDifference).toMatchObject({ ...used.difference, matched: used.matched })
    }
  })

  test('without refinement arms are compared at the calibrated beta, and nothing is done again', async () => {
    const off = await reproduce('whole', '--set', 'calibration.refinements=0')
    expect(off.code).toBe(0)
    expect(off.stderr).not.toContain(' …')
    for (const { arm, beta, refinement } of summaryOf('whole').calibration) {
      expect(refinement?.attempts.length ?? 1).toBe(1)
      expect(summaryOf('whole').arms.find((entry) => entry.id === arm)?.beta).toBe(beta)
    }
  }, 60_000)

  test('a judge that exists is measured and not trained, and nothing before it is done again', async () => {
    const stages = readdirSync(path.join(runFolder('whole'), 'stages'))
    const trained = path.join(
      runFolder('whole'),
      'stages',
      stages.find((stage) => stage.startsWith('judge-model')) as string,
    )
    const judged = await reproduce('whole', '--set', `models.judge={model: ${path.join(trained, 'model')}}`)
    expect({ code: judged.code, stderr: judged.code === 0 ? '' : judged.stderr }).toEqual({ code: 0, stderr: '' })
    const begun = [...judged.stderr.matchAll(/^(\S+) …$/gm)].map((match) => match[1] as string)
    expect(begun[0]).toBe('judge-model')
    expect(begun.filter((stage) => /^(language|reward|ensembles)/.test(stage))).toEqual([])
    const summary = summarySchema.parse(summaryOf('whole'))
    expect(summary.judgeModel).toMatchObject({ steps: 0, loss: [] })
    const own = JSON.parse(readFileSync(path.join(trained, 'done.json'), 'utf8')) as { value: Summary['judgeModel'] }
    expect(summary.judgeModel.heldOutAccuracy).toBe(own.value.heldOutAccuracy)
  }, 60_000)

  test('bad configuration: exit 2, file, line and key named', async () => {
    const bad = await reproduce('bad', '--set', 'layout.heads=1')
    expect(bad.code).toBe(2)
    expect(bad.stderr).toContain('layout.heads')
    const unknown = await reproduce('bad', '--set', 'layout.hedas=10')
    expect(unknown.code).toBe(2)
    expect(unknown.stderr).toContain('hedas')
  })
})

/** Result files of policies with the time they were written. */
function policyFiles(name: string): [string, number][] {
  const stages = path.join(runFolder(name), 'stages')
  try {
    return readdirSync(stages)
      .filter((stage) => stage.startsWith('policies-'))
      .flatMap((stage) => readdirSync(path.join(stages, stage)).map((file) => path.join(stages, stage, file)))
      .filter((file) => file.endsWith('.json') && !file.endsWith('done.json'))
      .map((file) => [file, statSync(file).mtimeMs])
  } catch {
    return []
  }
}
