import { type CallOptions, callNative } from './call.js'
import { loadAddon } from './load.js'
import type {
  BradleyTerryArgs,
  BradleyTerryResult,
  PpoLossArgs,
  PpoLossResult,
  VarianceKlAdvantageArgs,
  VarianceKlAdvantageResult,
} from './native.js'

/**
 * Single operations over plain arrays, for tests, benches and other trainers. Arrays are row-major Float32Arrays whose shape is
 * given, lengths an Int32Array; they are copied at the call. Every argument is checked: E_TYPE (also an unknown key), E_DTYPE (wrong
 * typed array), E_SHAPE (wrong length), E_RANGE (a number outside its range), each naming the argument.
 *
 * @example
 * ```ts
 * import { ops } from 'prudent'
 *
 * // Two pairs, one head: the first is ordered by 1, the second is a tie.
 * const { loss, accuracyPerHead } = await ops.bradleyTerry({
 *   chosen: Float32Array.of(1, 0),
 *   rejected: Float32Array.of(0, 0),
 *   shape: [2, 1],
 * })
 * console.log(loss.toFixed(4)) // 0.5032
 * console.log(accuracyPerHead[0]) // 0.5
 *
 * // One response of two tokens, scored 1 at its end; policy and reference agree, so there is no KL penalty.
 * const { rewards } = await ops.varianceKlAdvantage({
 *   logprobs: Float32Array.of(-1, -2),
 *   refLogprobs: Float32Array.of(-1, -2),
 *   values: Float32Array.of(0, 0),
 *   scores: Float32Array.of(1),
 *   klWeights: Float32Array.of(0.1),
 *   responseLengths: Int32Array.of(2),
 *   shape: [1, 2],
 * })
 * console.log(rewards[0], rewards[1]) // 0 1
 * ```
 */
export const ops = {
  /**
   * From log-probs and scores to advantages in one pass: the per-token KL penalty with a weight per sample (beta, beta * sigma_i or
   * beta * sigma_i^2; R = r - beta * sigma(x, y) * ln(pi / pi0), section 5 of the paper), the score at the last response token, GAE
   * (Schulman et al. 2016) and masked whitening, as classic TRL computes them.
   *
   * logprobs, refLogprobs, values [batch, time]; scores, klWeights [batch]; row i has responseLengths[i] valid positions from 0,
   * 1 <= responseLengths[i] <= time. klPerToken [batch, time] is needed for klPenalty 'full'. Defaults: gamma 1, lambda 0.95,
   * whiten true, whitenRewards false, klPenalty 'kl'. Results are [batch, time], in nats where they are KL, 0 outside the valid positions.
   */
  varianceKlAdvantage(args: VarianceKlAdvantageArgs, options?: CallOptions): Promise<VarianceKlAdvantageResult> {
    return callNative(options, (call) => loadAddon().ops.varianceKlAdvantage(args, call))
  },

  /**
   * PPO's clipped policy and value loss with its gradients and statistics (Schulman et al. 2017; classic TRL). All arrays
   * [batch, time]. Defaults: clipRange 0.2, clipRangeValue 0.2, vfCoef 0.1, ratioThreshold 10 (above it the losses count as 0,
   * stats.skipped is 1). loss = policyLoss + vfCoef * valueLoss; means are over valid positions.
   */
  ppoLoss(args: PpoLossArgs, options?: CallOptions): Promise<PpoLossResult> {
    return callNative(options, (call) => loadAddon().ops.ppoLoss(args, call))
  },

  /**
   * Bradley-Terry loss of all heads with its gradient: lossPerHead[n] = mean over pairs of -ln sigmoid(chosen - rejected), loss their
   * sum. chosen, rejected [pairs, heads]. A tie is not accurate.
   */
  bradleyTerry(args: BradleyTerryArgs, options?: CallOptions): Promise<BradleyTerryResult> {
    return callNative(options, (call) => loadAddon().ops.bradleyTerry(args, call))
  },
}
