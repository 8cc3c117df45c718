/**
 * Metrics to an MLflow server over its REST API (2.0). Training never waits for it: entries are queued and sent in the background, a
 * server that is away costs one warning and, beyond the queue's size, the oldest entries.
 */
import { readFile } from 'node:fs/promises'
import { writeFileAtomic } from './atomic-files.js'
import type { MetricsEntry } from './metrics.js'

export interface MlflowOptions {
  uri: string
  experiment: string
  runName: string
  /** The configuration; nested keys are joined by dots. */
  params: Readonly<Record<string, unknown>>
  /** Remembers the run's id, so that a resumed run goes on in the same MLflow run. */
  file: string
  warn: (message: string) => void
  environment?: Readonly<Record<string, string | undefined>>
  timeoutMs?: number
  /** Between two sendings. */
  intervalMs?: number
}

export type MlflowStatus = 'FINISHED' | 'FAILED' | 'KILLED'

interface Metric {
  key: string
  value: number
  timestamp: number
  step: number
}

/** Limits of the server: entities of one log-batch, parameters among them, characters of a parameter in its older versions. */
const BATCH = 1000
const PARAMS = 100
const PARAM_LENGTH = 500
const QUEUE = 50_000

export class MlflowTracker {
  readonly #options: MlflowOptions
  readonly #base: string
  readonly #headers: Record<string, string>
  readonly #timer: NodeJS.Timeout
  #queue: Metric[] = []
  #runId: string | null = null
  #sending: Promise<void> | null = null
  #warned = false

  constructor(options: MlflowOptions) {
    this.#options = options
    this.#base = `${options.uri.replace(/\/+$/, '')}/api/2.0/mlflow`
    this.#headers = { 'content-type': 'application/json', ...authorisation(options.environment ?? process.env) }
    this.#timer = setInterval(() => void this.#send(), options.intervalMs ?? 1000).unref()
  }

  /** Queues the numbers of a step; values that are not finite are left out, as JSON has none. */
  log({ step, ...values }: MetricsEntry): void {
    const timestamp = Date.now()
    for (const [key, value] of Object.entries(values)) {
      if (Number.isFinite(value)) this.#queue.push({ key, value, timestamp, step })
    }
    if (this.#queue.length > QUEUE) this.#queue = this.#queue.slice(-QUEUE)
  }

  /** Sends what is left and closes the MLflow run. Never throws. */
  async end(status: MlflowStatus): Promise<void> {
    clearInterval(this.#timer)
    await this.#sending
    await this.#send()
    if (this.#runId === null || this.#queue.length > 0) return
    await this.#guarded(() => this.#post('runs/update', { run_id: this.#runId, status, end_time: Date.now() }))
  }

  /** One sending at a time; what fails stays queued. */
  async #send(): Promise<void> {
    this.#sending ??= this.#guarded(async () => {
      this.#runId ??= await this.#openRun()
      while (this.#queue.length > 0) {
        const metrics = this.#queue.slice(0, BATCH)
        await this.#post('runs/log-batch', { run_id: this.#runId, metrics })
        // The queue may have been cut at its front meanwhile.
        const sent = new Set(metrics)
        this.#queue = this.#queue.filter((metric) => !sent.has(metric))
      }
    }).finally(() => {
      this.#sending = null
    })
    await this.#sending
  }

  async #guarded(work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!this.#warned) this.#options.warn(`MLflow at ${this.#options.uri}: ${reasonOf(error)}; training goes on`)
      this.#warned = true
    }
  }

  async #openRun(): Promise<string> {
    const known = await this.#knownRun()
    if (known !== null) return known
    const experiment_id = await this.#experiment()
    const { experiment: _, runName: run_name, params } = this.#options
    const created = (await this.#post('runs/create', { experiment_id, run_name, start_time: Date.now() })) as {
      run: { info: { run_id: string } }
    }
    const { run_id } = created.run.info
    const flat = flatten(params)
    for (let at = 0; at < flat.length; at += PARAMS)
      await this.#post('runs/log-batch', { run_id, params: flat.slice(at, at + PARAMS) })
    await writeFileAtomic(this.#options.file, `${JSON.stringify({ uri: this.#options.uri, run_id })}\n`)
    return run_id
  }

  /** The run that this directory had before, running again; null when there is none or the server does not know it any more. */
  async #knownRun(): Promise<string | null> {
    const text = await readFile(this.#options.file, 'utf8').catch(() => null)
    if (text === null) return null
    try {
      const { uri, run_id } = JSON.parse(text) as { uri: string; run_id: string }
      if (uri !== this.#options.uri) return null
      await this.#post('runs/update', { run_id, status: 'RUNNING' })
      return run_id
    } catch (error) {
      if (error instanceof SyntaxError || codeOf(error) === 'RESOURCE_DOES_NOT_EXIST') return null
      throw error
    }
  }

  async #experiment(): Promise<string> {
    const name = this.#options.experiment
    const find = async () => {
      const query = new URLSearchParams({ experiment_name: name })
      const found = (await this.#call(`experiments/get-by-name?${query}`)) as { experiment: { experiment_id: string } }
      return found.experiment.experiment_id
    }
    try {
      return await find()
    } catch (error) {
      if (codeOf(error) !== 'RESOURCE_DOES_NOT_EXIST') throw error
    }
    try {
      return ((await this.#post('experiments/create', { name })) as { experiment_id: string }).experiment_id
    } catch (error) {
      // Another run was quicker.
      if (codeOf(error) !== 'RESOURCE_ALREADY_EXISTS') throw error
      return find()
    }
  }

  #post(path: string, body: object): Promise<unknown> {
    return this.#call(path, { method: 'POST', body: JSON.stringify(body) })
  }

  async #call(path: string, request: RequestInit = {}): Promise<unknown> {
    const signal = AbortSignal.timeout(this.#options.timeoutMs ?? 10_000)
    const response = await fetch(`${this.#base}/${path}`, { ...request, headers: this.#headers, signal })
    const text = await response.text()
    if (response.ok) return JSON.parse(text === '' ? '{}' : text)
    const { error_code, message } = parsed(text)
    throw new MlflowError(
      error_code ?? '',
      `${response.status} ${error_code ?? response.statusText}: ${message ?? path}`,
    )
  }
}

/** What the server answered in place of a result. */
class MlflowError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

const codeOf = (error: unknown): string => (error instanceof MlflowError ? error.code : '')

function reasonOf(error: unknown): string {
  const { message, cause } = error as { message?: string; cause?: { message?: string } }
  // fetch says "fetch failed" and keeps the reason to itself.
  return cause?.message || message || String(error)
}

function parsed(text: string): { error_code?: string; message?: string } {
  try {
    return JSON.parse(text) as { error_code?: string; message?: string }
  } catch {
    return {}
  }
}

/** As MLflow's own clients: a token, or a name and password, from the environment. */
function authorisation(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  const {
    MLFLOW_TRACKING_TOKEN: token,
    MLFLOW_TRACKING_USERNAME: name,
    MLFLOW_TRACKING_PASSWORD: password,
  } = environment
  if (name !== undefined && password !== undefined)
    return { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` }
  return token === undefined ? {} : { authorization: `Bearer ${token}` }
}

function flatten(value: unknown, path = ''): { key: string; value: string }[] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, inner]) => flatten(inner, path === '' ? key : `${path}.${key}`))
  }
  if (value === undefined) return []
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return [{ key: path, value: text.slice(0, PARAM_LENGTH) }]
}
