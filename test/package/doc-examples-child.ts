/**
 * Runs examples (paths of modules, as arguments) one after the other in the folder that it was started in. Prints, as JSON, what each
 * wrote by console.log or the error that it ended with.
 */
import { pathToFileURL } from 'node:url'
import { format } from 'node:util'

export interface Outcome {
  printed: string[]
  error: string | null
}

const outcomes: Outcome[] = []
for (const file of process.argv.slice(2)) {
  const outcome: Outcome = { printed: [], error: null }
  outcomes.push(outcome)
  console.log = (...values: unknown[]) => {
    outcome.printed.push(format(...values))
  }
  try {
    await import(pathToFileURL(file).href)
  } catch (error) {
    outcome.error = error instanceof Error ? (error.stack ?? error.message) : String(error)
  }
}
process.stdout.write(JSON.stringify(outcomes))
