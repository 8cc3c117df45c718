/** What the paper prints, to stand beside our numbers: "Towards Reliable Alignment: Uncertainty-aware RLHF". */
export const PAPER = {
  /** Table 1, %: average, then Chat, Chat Hard, Safety, Reasoning, Prior Sets. */
  table1: [
    { model: 'GRM-Gemma-2B-sftreg', overall: 74.7, sections: [95.5, 48.7, 80.0, 76.8, 69.8] },
    { model: 'Gemma-2B-rewardmodel-baseline', overall: 73.1, sections: [94.1, 46.9, 79.7, 73.8, 69.0] },
    { model: 'the paper’s model', overall: 69.4, sections: [95.6, 44.5, 55.9, 81.8, 69.0] },
    { model: 'Qwen1.5-72B-Chat', overall: 68.2, sections: [62.3, 66.0, 72.0, 85.5, 42.3] },
    { model: 'MiniCPM-2B-dpo-fp32', overall: 66.2, sections: [89.1, 49.3, 52.5, 82.3, 49.6] },
    { model: 'RM-Gemma-2B', overall: 64.2, sections: [94.4, 40.8, 44.0, 76.4, 66.5] },
  ],
  /** Figure 7: mean and variance over 40 policies of the judge's mean score. */
  figure7: [
    { method: 'reference policy', mean: 0.19, variance: 0.002 },
    { method: 'variance-aware', mean: 0.22, variance: 0.012 },
    { method: 'vanilla PPO', mean: 0.34, variance: 0.06 },
  ],
  /** Figure 12: the same over 100 policies. */
  figure12: [
    { method: 'reference policy', mean: 0.15, variance: 0.012 },
    { method: 'variance-aware', mean: 0.41, variance: 0.016 },
    { method: 'vanilla PPO', mean: 0.43, variance: 0.038 },
  ],
  /** Section 4 and figure 6: sample variances over the ten heads. */
  varianceRange: [3, 14],
  varianceMedian: 3.81,
  /** Figure 6's caption; the text's range ends at 14. */
  varianceMaximum: 10,
  /** Figure 10: final KL of both methods, nats. */
  finalKl: [1.2, 1.4],
} as const

/** What the paper says of figure 6 in two places. */
export const PAPER_VARIANCES = `text: ${PAPER.varianceRange.join(' to ')}, mean above 4, median above 3; caption: median ${PAPER.varianceMedian}, maximum near ${PAPER.varianceMaximum}; ${PAPER.varianceRange[1]} and ${PAPER.varianceMaximum} do not agree`
