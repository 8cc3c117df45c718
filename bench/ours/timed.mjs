/** Seconds that `body` took, and what it gave. */
export async function timed(body) {
  const start = performance.now()
  const value = await body()
  return { seconds: (performance.now() - start) / 1000, value }
}

/** Weights alone, or weights, gradients, two fp32 moments and, for bf16 weights, an fp32 master. */
export function heldBytes(info, { training }) {
  if (!training) return info.parameterBytes
  const perParameter = info.dtype === 'bfloat16' ? 2 + 2 + 8 + 4 : 4 + 4 + 8
  return info.parameterCount * perParameter
}
