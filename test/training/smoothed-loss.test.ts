import { expect, test } from '@jest/globals'
import { SmoothedLoss } from '../../ts/training/smoothed-loss.js'

test('bias-corrected: a constant is its own average, and the first value stands for itself', () => {
  const smoothed = new SmoothedLoss({ loss: 0.1, smoothing: 0.9 })
  expect(smoothed.value).toBeNaN()
  for (let count = 0; count < 5; count++) {
    smoothed.add(0.7)
    expect(smoothed.value).toBeCloseTo(0.7, 12)
  }
})

test('by hand: 1, 2, 4 with weight 0.5', () => {
  const smoothed = new SmoothedLoss({ loss: 1, smoothing: 0.5 })
  for (const loss of [1, 2, 4]) smoothed.add(loss)
  // (0.125 * 1 + 0.25 * 2 + 0.5 * 4) / 0.875
  expect(smoothed.value).toBeCloseTo(2.625 / 0.875, 12)
})

test('one lucky batch does not end training', () => {
  const smoothed = new SmoothedLoss({ loss: 0.3, smoothing: 0.9 })
  smoothed.add(0.01)
  expect(smoothed.reached).toBe(false)
  for (let count = 0; count < 8; count++) smoothed.add(0.2)
  expect(smoothed.reached).toBe(false)
  smoothed.add(0.2)
  expect(smoothed.reached).toBe(true)
  smoothed.add(5)
  expect(smoothed.reached).toBe(false)
})

test('goes on from its state to the bit, and never ends training unasked', () => {
  const whole = new SmoothedLoss(undefined)
  const first = new SmoothedLoss(undefined)
  const losses = Array.from({ length: 40 }, (_, index) => Math.sin(index) ** 2 / 1e3)
  for (const loss of losses) whole.add(loss)
  for (const loss of losses.slice(0, 17)) first.add(loss)
  const second = new SmoothedLoss(undefined, JSON.parse(JSON.stringify(first.state)))
  for (const loss of losses.slice(17)) second.add(loss)
  expect(second.value).toBe(whole.value)
  expect(whole.reached).toBe(false)
})
