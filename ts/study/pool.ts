/** Runs the tasks with at most `width` at once; results in order. The first failure stops new tasks and is thrown once those under way ended. */
export async function runPool<T>(
  tasks: readonly (() => Promise<T>)[],
  width: number,
  signal?: AbortSignal,
): Promise<T[]> {
  const results = new Array<T>(tasks.length)
  let next = 0
  let failure: { error: unknown } | null = null
  const worker = async () => {
    while (next < tasks.length && failure === null && !signal?.aborted) {
      const index = next
      next += 1
      try {
        results[index] = await (tasks[index] as () => Promise<T>)()
      } catch (error) {
        failure ??= { error }
      }
    }
  }
  await Promise.all(Array.from({ length: Math.max(1, Math.min(width, tasks.length)) }, worker))
  if (failure !== null) throw (failure as { error: unknown }).error
  signal?.throwIfAborted()
  return results
}
