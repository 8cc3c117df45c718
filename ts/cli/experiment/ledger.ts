/** What the commands of an experiment answered and how long they took, over all the times that the experiment was started. */
import { readFile } from 'node:fs/promises'
import { isMissing, writeFileAtomic } from '../../run/atomic-files.js'

interface Entry {
  seconds: number
  result: Record<string, unknown>
}

export class Ledger {
  readonly #file: string
  readonly #entries: Record<string, Entry>
  #written = Promise.resolve()

  private constructor(file: string, entries: Record<string, Entry>) {
    this.#file = file
    this.#entries = entries
  }

  static async open(file: string): Promise<Ledger> {
    const text = await readFile(file, 'utf8').catch((error) => {
      if (isMissing(error)) return '{}'
      throw error
    })
    return new Ledger(file, JSON.parse(text) as Record<string, Entry>)
  }

  /** A command that was found done says `done` and nothing new. */
  async add(name: string, seconds: number, output: string): Promise<void> {
    const result = answerOf(output)
    const before = this.#entries[name]
    if (result.done === true && before !== undefined) return
    this.#entries[name] = { seconds: (before?.seconds ?? 0) + seconds, result }
    const text = `${JSON.stringify(this.#entries)}\n`
    this.#written = this.#written.then(() => writeFileAtomic(this.#file, text))
    await this.#written
  }

  result(name: string): Record<string, unknown> {
    return this.#entries[name]?.result ?? {}
  }

  get commands(): { name: string; seconds: number }[] {
    return Object.entries(this.#entries).map(([name, { seconds }]) => ({ name, seconds }))
  }
}

/** Training answers with one JSON object; other commands with text that nobody reads here. */
function answerOf(output: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(output.trim().split('\n').at(-1) ?? '')
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}
  } catch {
    return {}
  }
}
