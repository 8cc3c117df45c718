import { Worker } from 'node:worker_threads'
import { abortError } from '../addon/call.js'
import { PrudentError } from '../errors.js'
import type { RenderJob, RenderReply, TemplateWorkerData } from './template-worker.js'

export interface TemplateRendererOptions {
  /** Jinja texts by name, as `ChatTemplate.sources` has them. */
  sources: ReadonlyMap<string, string>
  /** Named in messages. */
  origin: string
  timeoutMs: number
  maxCharacters: number
}

interface Waiting {
  job: RenderJob
  settle(outcome: { texts: string[] } | { error: unknown }): void
}

/** Strings of a template that runs away fill this much memory at most. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 16, stackSizeMb: 4 }

/**
 * Renders chat templates in a thread of its own, one job at a time, so that a deadline meets the job that missed it and no other: the
 * thread is ended and the next job gets a new one. The first job starts it; an idle thread does not keep the process alive.
 */
export class TemplateRenderer {
  readonly #options: TemplateRendererOptions
  #waiting: Waiting[] = []
  #running: Waiting | null = null
  #timer: NodeJS.Timeout | undefined
  #worker: Worker | null = null
  #ready = false
  #disposed = false

  constructor(options: TemplateRendererOptions) {
    this.#options = options
  }

  /**
   * One text a conversation.
   * @throws E_DATA where the template refuses the messages, E_CONFIG where it is not valid, E_TOO_LONG, E_TIMEOUT, E_CANCELLED
   */
  render(job: RenderJob, signal?: AbortSignal): Promise<string[]> {
    return new Promise((resolve, reject) => {
      if (this.#disposed) return reject(new PrudentError('E_DISPOSED', 'TemplateRenderer: it was disposed of'))
      if (signal?.aborted) return reject(abortError(signal))
      const onAbort = () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiting)
        // A job that runs already goes on to its end or its deadline, unheard.
        waiting.settle({ error: abortError(signal as AbortSignal) })
      }
      const waiting: Waiting = {
        job,
        settle(outcome) {
          signal?.removeEventListener('abort', onAbort)
          if ('error' in outcome) reject(outcome.error)
          else resolve(outcome.texts)
        },
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(waiting)
      this.#advance()
    })
  }

  async dispose(): Promise<void> {
    this.#disposed = true
    const error = new PrudentError('E_CANCELLED', 'the renderer was disposed of')
    for (const waiting of this.#waiting.splice(0)) waiting.settle({ error })
    await this.#end(error)
  }

  #advance(): void {
    if (this.#running !== null || this.#waiting.length === 0) return
    this.#worker ??= this.#start()
    this.#worker.ref()
    if (!this.#ready) return
    this.#running = this.#waiting.shift() as Waiting
    this.#timer = setTimeout(() => this.#late(), this.#options.timeoutMs)
    this.#worker.postMessage(this.#running.job)
  }

  #start(): Worker {
    const { sources, origin, maxCharacters } = this.#options
    const workerData: TemplateWorkerData = { sources, origin, maxCharacters }
    const worker = new Worker(new URL('./template-worker.js', import.meta.url), {
      workerData,
      resourceLimits: RESOURCE_LIMITS,
      env: {},
      execArgv: [],
    })
    worker.on('message', (reply: RenderReply | 'ready') => {
      if (worker !== this.#worker) return
      if (reply === 'ready') this.#ready = true
      else this.#finish('texts' in reply ? reply : { error: new PrudentError(reply.code, reply.message) })
      this.#advance()
    })
    worker.on('error', (cause) => {
      if (worker !== this.#worker) return
      const tooLarge = (cause as NodeJS.ErrnoException).code === 'ERR_WORKER_OUT_OF_MEMORY'
      const code = tooLarge ? 'E_TOO_LONG' : 'E_INTERNAL'
      void this.#fail(new PrudentError(code, `the chat template ended its thread: ${cause.message}`, { cause }))
    })
    return worker
  }

  #finish(outcome: Parameters<Waiting['settle']>[0]): void {
    clearTimeout(this.#timer)
    const done = this.#running
    this.#running = null
    done?.settle(outcome)
    this.#worker?.unref()
  }

  #late(): void {
    const message = `the chat template did not finish within ${this.#options.timeoutMs} ms`
    void this.#fail(new PrudentError('E_TIMEOUT', message, { argument: 'messages' }))
  }

  /** Gives the running job (or, where the thread never started, the first that waits) the error, and the rest a new thread. */
  async #fail(error: PrudentError): Promise<void> {
    this.#running ??= this.#waiting.shift() ?? null
    await this.#end(error)
    this.#advance()
  }

  async #end(error: PrudentError): Promise<void> {
    const worker = this.#worker
    this.#worker = null
    this.#ready = false
    this.#finish({ error })
    await worker?.terminate()
  }
}
