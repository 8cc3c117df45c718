/** What the paper prints, to stand beside our numbers: "Towards Reliable Alignment: Uncertainty-aware RLHF". */
export const PAPER = {
  /** Figure 7: mean and variance over 40 policies of the judge's mean score. */
  figure7: [
    { method: 'reference policy', mean: 0.19, variance: 0.002 },
    { method: 'variance-aware', mean: 0.22, variance: 0.012 },
    { method: 'vanilla PPO', mean: 0.34, variance: 0.06 },
  ],
  /** Section 4 and figure 6: sample variances over the ten heads. */
  varianceRange: [3, 14],
  varianceMedian: 3.81,
  /** Figure 10: final KL of both methods, nats. */
  finalKl: [1.2, 1.4],
} as const
