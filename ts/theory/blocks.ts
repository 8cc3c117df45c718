const BLOCK = 1024

/** Does `count` draws a block at a time. Between blocks events come in, of which a signal to stop may be one. */
export async function inBlocks(
  count: number,
  signal: AbortSignal | undefined,
  draw: (begin: number, end: number) => void,
): Promise<void> {
  for (let begin = 0; begin < count; begin += BLOCK) {
    await new Promise(setImmediate)
    signal?.throwIfAborted()
    draw(begin, Math.min(begin + BLOCK, count))
  }
}
