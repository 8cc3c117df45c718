/**
 * Does `count` draws, `size` at a time. Between blocks events come in, of which a signal to stop may be one: a loop without them
 * cannot be ended but by killing the process.
 */
export async function inBlocks(
  count: number,
  size: number,
  signal: AbortSignal | undefined,
  draw: (begin: number, end: number) => void,
): Promise<void> {
  for (let begin = 0; begin < count; begin += size) {
    await new Promise(setImmediate)
    signal?.throwIfAborted()
    draw(begin, Math.min(begin + size, count))
  }
}
