import type { PromptSet } from '../policy/types.js'

/** `count` prompts from `start`, going round where there are fewer. */
export function takePrompts(prompts: PromptSet, count: number, start = 0): PromptSet {
  const rows = Array.from({ length: count }, (_, i) => (start + i) % prompts.ids.length)
  return {
    ids: rows.map((row) => prompts.ids[row] as Int32Array),
    texts: rows.map((row) => prompts.texts[row] as string),
  }
}

/** Every prompt `times` times in a row. */
export function repeatPrompts(prompts: PromptSet, times: number): PromptSet {
  const each = <T>(items: readonly T[]) => items.flatMap((item) => new Array<T>(times).fill(item))
  return { ids: each(prompts.ids), texts: each(prompts.texts) }
}
