/** Preconditions ("not trained") and the gate, as checks with their numbers. */
import type { StudyConfig } from './config.js'
import type { ArmSummary, Check, LanguageModelSummary, RewardModelSummary, SigmaQuality } from './summary.js'

function atLeast(name: string, value: number, threshold: number, meaning: string): Check {
  return { name, value, rule: '>=', threshold, passed: value >= threshold, meaning }
}
function atMost(name: string, value: number, threshold: number, meaning: string): Check {
  return { name, value, rule: '<=', threshold, passed: value <= threshold, meaning }
}

export function preconditions(
  config: StudyConfig['preconditions'],
  trained: {
    scorer: LanguageModelSummary
    policy: LanguageModelSummary
    reward: RewardModelSummary
    vanilla: ArmSummary
  },
): Check[] {
  const perplexity = (name: string, model: LanguageModelSummary) =>
    atMost(
      `${name} perplexity`,
      model.perplexity,
      model.bigramPerplexity,
      `Held-out perplexity of the ${name}; the limit is a bigram model's.`,
    )
  const { reward, vanilla } = trained
  return [
    perplexity('scorer base', trained.scorer),
    perplexity('policy base', trained.policy),
    atLeast(
      'reward accuracy',
      reward.heldOutAccuracy,
      reward.bayesCeiling - config.accuracyBelowCeiling,
      'Held-out accuracy of the single reward model; the limit lies below what the known true reward can reach on these noisy labels.',
    ),
    atLeast(
      'vanilla proxy gain',
      vanilla.proxyGain.mean,
      config.minProxyGain,
      "Gain of vanilla PPO's own reward, in standard deviations of the reference.",
    ),
    atLeast('vanilla final KL', vanilla.finalKl.mean, config.minFinalKl, 'Nats a response from the reference.'),
  ]
}

/** On fresh responses of the reference policy; says whether sigma can do anything in this world. */
export function gateChecks(config: StudyConfig['gate'], quality: SigmaQuality): Check[] {
  return [
    atLeast('sigma CV', quality.cv, config.minCv, 'Standard deviation of sigma over responses by its mean.'),
    atLeast(
      'sigma scarce/common',
      quality.scarceCommonRatio,
      config.minScarceCommonRatio,
      'Mean sigma in scarce styles by that in common ones.',
    ),
    atLeast(
      'sigma and error',
      quality.errorCorrelation,
      config.minErrorCorrelation,
      'Correlation of sigma with the size of the reward error.',
    ),
  ]
}
