/** A small made-up summary that passes the schema: what the report's tests render. Its numbers mean nothing. */
import type { ArmSummary, Histogram, Summary } from '../../ts/study/summary.js'

const histogram = (scale: number): Histogram => ({
  edges: [0, 1, 2, 3, 4].map((x) => x * scale),
  counts: [3, 8, 4, 1],
  mean: 1.6 * scale,
  median: 1.5 * scale,
  min: 0.1 * scale,
  max: 3.9 * scale,
})
const curve = (end: number, spread: number) => ({
  step: [0, 10, 20, 30],
  mean: [0, 0.4, 0.8, 1].map((x) => x * end),
  std: [0, 0.5, 0.8, 1].map((x) => x * spread),
})
const wave = (count: number, centre: number, width: number) =>
  Array.from({ length: count }, (_, i) => centre + width * Math.sin(1.7 * i + centre))

function arm(method: ArmSummary['method'], center: ArmSummary['center'], spread: number): ArmSummary {
  return {
    id: center === null ? `paper/${method}` : `paper/${method}/${center}`,
    recipe: 'paper',
    method,
    center,
    beta: 0.2,
    policies: 12,
    finalKl: { mean: 1.3, std: 0.1 },
    proxyGain: { mean: 1.1, std: 0.2 },
    kl: curve(1.3, 0.1),
    proxyReward: curve(2, spread),
  }
}

export function summaryFixture(): Summary {
  const arms = [
    arm('vanilla', null, 0.6),
    arm('sigma', 'none', 0.3),
    arm('sigma', 'reference', 0.2),
    arm('shuffled', 'none', 0.5),
  ]
  const interval = { estimate: 0.5, low: 0.3, high: 0.9 }
  const test = { statistic: 2.1, p: 0.03 }
  const check = {
    name: 'σ heterogeneous',
    value: 0.5,
    rule: '>=' as const,
    threshold: 0.4,
    passed: true,
    meaning: 'CV of centred σ.',
  }
  const loss = [0, 1, 2, 3].map((step) => ({ step: step * 10, loss: 3 / (step + 1) }))
  const languageModel = {
    steps: 30,
    tokens: 12_345,
    parameters: 81_920,
    perplexity: 21.5,
    bigramPerplexity: 34.2,
    loss,
  }
  const reward = { steps: 30, stoppedEarly: true, heldOutAccuracy: 0.71, truthAccuracy: 0.74, bayesCeiling: 0.75, loss }
  return {
    version: 1,
    name: 'fixture <study>',
    seed: 1,
    layout: { ensembles: 4, heads: 10, trials: 1, description: 'Four disjoint ensembles.' },
    headline: { outcome: 'inconclusive', sentence: 'The interval of the variance ratio holds 1 & more <b>.' },
    data: [
      { name: 'preferences', file: 'preferences.parquet', rows: 100, used: 97, dropped: { empty: 2, identical: 1 } },
    ],
    languageModels: { scorer: languageModel, policy: languageModel },
    rewardModel: reward,
    judgeModel: { ...reward, correlationWithTruth: 0.8 },
    independentModels: [0.7, 0.72].map((heldOutAccuracy) => ({ steps: 60, heldOutAccuracy, finalLoss: 0.41 })),
    ensembles: [
      {
        recipe: 'paper',
        ensemble: 0,
        steps: 100,
        finalLossPerHead: wave(10, 0.5, 0.02),
        heldOutAccuracyPerHead: wave(10, 0.7, 0.02),
      },
    ],
    preconditions: [check, { ...check, name: 'language model', rule: '<=', passed: false }],
    gate: [check],
    sigma: [
      {
        recipe: 'paper',
        center: 'none',
        samples: 100,
        mean: 1.2,
        cv: 0.06,
        withinPromptShare: 0.9,
        errorCorrelation: 0.3,
        scarceCommonRatio: 2.4,
        histogram: histogram(1),
      },
    ],
    calibration: [
      {
        arm: 'paper/vanilla',
        targetKl: 1.3,
        beta: 0.2,
        kl: interval,
        samples: 1024,
        relativeError: 0.01,
        tolerance: 0.03,
        matched: true,
        trials: [{ beta: 0.2, kl: 1.31, policies: 8 }],
        refinement: null,
      },
      {
        arm: 'paper/sigma/none',
        targetKl: 1.31,
        beta: 0.3,
        kl: interval,
        samples: 1024,
        relativeError: 0.01,
        tolerance: 0.03,
        matched: true,
        trials: [{ beta: 0.3, kl: 1.32, policies: 8 }],
        refinement: {
          baseline: 'paper/vanilla',
          targetKl: 1.3,
          tolerance: 0.03,
          limit: 2,
          matched: true,
          attempts: [
            {
              beta: 0.3,
              kl: 1.215,
              difference: { estimate: -0.0654, low: -0.12, high: 0.02 },
              matched: false,
              used: false,
            },
            {
              beta: 0.2811,
              kl: 1.313,
              difference: { estimate: 0.01, low: -0.05, high: 0.07 },
              matched: true,
              used: true,
            },
          ],
        },
      },
    ],
    arms,
    figures: {
      oneResponse: { prompt: 'Who "wrote" it?', response: 'An <author>.', recipe: 'paper', scores: wave(10, 1, 2) },
      variances: ['chat', 'chat-hard', 'safety', 'reasoning'].map((section, i) => ({
        recipe: 'paper' as const,
        section,
        pairs: 16,
        accepted: histogram(1 + i),
        difference: histogram(2 + i),
      })),
      judged: (['truth', 'model'] as const).map((judge) => ({
        judge,
        reference: { means: wave(12, 0.2, 0.01), mean: 0.2, variance: 0.0001 },
        arms: arms.map((a, i) => ({
          arm: a.id,
          means: wave(12, 0.3, 0.2 / (i + 1)),
          mean: 0.3,
          variance: 0.02,
          riskBelowReference: 0.25,
        })),
      })),
      accuracies: ['chat', 'chat-hard', 'safety', 'reasoning'].map((section) => ({
        recipe: 'paper' as const,
        section,
        pairs: 16,
        heads: wave(10, 0.7, 0.1),
        single: 0.72,
      })),
    },
    verdicts: {
      level: 0.95,
      rules: ['First rule.', 'Second rule.'],
      list: [
        {
          id: 'paper/none/truth',
          recipe: 'paper',
          center: 'none',
          judge: 'truth',
          primary: true,
          baseline: 'paper/vanilla',
          treatment: 'paper/sigma/none',
          outcome: 'inconclusive',
          reasons: ['KL matched.', 'The interval holds 1.'],
          clusters: 10,
          policies: 12,
          varianceRatio: interval,
          pitmanMorgan: test,
          riskDifference: { estimate: -0.1, low: -0.2, high: 0.05 },
          meanDifference: interval,
          klDifference: { estimate: 0.01, low: -0.01, high: 0.03, tolerance: 0.03, matched: true },
          asInPaper: { brownForsythe: test, levene: test },
        },
      ],
    },
    policies: [],
    config: { study: { seed: 1 } },
    environment: {
      prudent: '0.1.0',
      node: 'v20',
      libtorch: '2.13.0',
      cpu: 'a CPU',
      cores: 2,
      lanes: 2,
      threadsPerLane: 1,
    },
    timings: [{ stage: 'policies', seconds: 130, units: 120 }],
    peakMemoryBytes: 2 ** 31,
  }
}
