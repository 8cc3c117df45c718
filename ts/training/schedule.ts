import type { ScheduleConfig } from '../config/blocks.js'

/**
 * Learning rate of step 0 … total - 1, by the formulas of transformers' get_*_schedule_with_warmup: warm-up rises linearly from 0
 * (so its first step moves nothing), then the shape falls to minRatio * peak at the end.
 */
export function learningRate(schedule: ScheduleConfig, peak: number, step: number, total: number): number {
  const warmup = warmupSteps(schedule, total)
  if (step < warmup) return (peak * step) / Math.max(1, warmup)
  const progress = (step - warmup) / Math.max(1, total - warmup)
  const factor = shapeAt(schedule.shape, Math.min(1, progress))
  return peak * (schedule.minRatio + (1 - schedule.minRatio) * factor)
}

/** `warmupRatio` rounds up, as transformers does. */
export function warmupSteps(schedule: ScheduleConfig, total: number): number {
  return schedule.warmupSteps ?? Math.ceil(total * schedule.warmupRatio)
}

function shapeAt(shape: ScheduleConfig['shape'], progress: number): number {
  if (shape === 'constant') return 1
  if (shape === 'linear') return 1 - progress
  return 0.5 * (1 + Math.cos(Math.PI * progress))
}

/** Optimiser steps: `steps`, or `epochs` passes of `batchesPerEpoch`, rounded up. */
export function totalSteps(settings: { steps?: number | undefined; epochs: number }, batchesPerEpoch: number): number {
  return settings.steps ?? Math.max(1, Math.ceil(settings.epochs * batchesPerEpoch))
}
