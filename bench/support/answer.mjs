// The other end of Side in JavaScript: reads calls as JSON lines, one at a time and in order, and answers each.
import { createInterface } from 'node:readline'

/** @param {Record<string, (params: any) => any>} methods */
export async function answerCalls(methods) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, method, params } = JSON.parse(line)
    let answer
    try {
      if (!methods[method]) throw new Error(`unknown method ${method}`)
      answer = { id, result: (await methods[method](params)) ?? null }
    } catch (error) {
      answer = { id, error: `${error.code ? `${error.code}: ` : ''}${error.stack ?? error.message}` }
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`)
  }
}
