import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { abortError } from '../addon/call.js'
import { PrudentError } from '../errors.js'
import type { RenderJob, RenderReply, TemplateWorkerSetup } from './template-worker.js'

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

/** What a template that runs away fills at most. */
const LIMITS = ['--max-old-space-size=128', '--max-semi-space-size=8']

/**
 * Renders chat templates in a process of its own, one job at a time, so that a deadline meets the job that missed it and no other: the
 * process is killed and the next job gets a new one. A process, no thread: a thread that runs out of memory at once (one array of a
 * hundred million entries) takes the whole service with it. The first job starts it; an idle one does not keep the service alive, and
 * ends with it.
 */
export class TemplateRenderer {
  readonly #options: TemplateRendererOptions
  #waiting: Waiting[] = []
  #running: Waiting | null = null
  #timer: NodeJS.Timeout | undefined
  #worker: ChildProcess | null = null
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
    this.#worker.channel?.ref()
    if (!this.#ready) return
    this.#running = this.#waiting.shift() as Waiting
    this.#timer = setTimeout(() => this.#late(), this.#options.timeoutMs)
    this.#worker.send(this.#running.job)
  }

  #start(): ChildProcess {
    const { sources, origin, maxCharacters } = this.#options
    const setup: TemplateWorkerSetup = { sources, origin, maxCharacters }
    const worker = fork(new URL('./template-worker.js', import.meta.url), {
      execArgv: LIMITS,
      env: {},
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    worker.on('message', (reply: RenderReply | 'ready') => {
      if (worker !== this.#worker) return
      if (reply === 'ready') this.#ready = true
      else this.#finish('texts' in reply ? reply : { error: new PrudentError(reply.code, reply.message) })
      this.#advance()
    })
    worker.on('error', (cause) => this.#lost(worker, 'E_INTERNAL', cause.message))
    // V8 aborts a process that is out of memory; the template did that, or nothing would have.
    worker.on('exit', (code, signal) =>
      this.#lost(worker, signal === 'SIGABRT' ? 'E_TOO_LONG' : 'E_INTERNAL', signal ?? `exit ${code}`),
    )
    worker.send(setup)
    return worker
  }

  #lost(worker: ChildProcess, code: 'E_TOO_LONG' | 'E_INTERNAL', why: string): void {
    if (worker !== this.#worker) return
    const reason = code === 'E_TOO_LONG' ? 'it filled the memory that a template may have' : why
    void this.#fail(new PrudentError(code, `the chat template ended its process: ${reason}`, { argument: 'messages' }))
  }

  #finish(outcome: Parameters<Waiting['settle']>[0]): void {
    clearTimeout(this.#timer)
    const done = this.#running
    this.#running = null
    done?.settle(outcome)
    this.#worker?.unref()
    this.#worker?.channel?.unref()
  }

  #late(): void {
    const message = `the chat template did not finish within ${this.#options.timeoutMs} ms`
    void this.#fail(new PrudentError('E_TIMEOUT', message, { argument: 'messages' }))
  }

  /** Gives the running job (or, where the process never started, the first that waits) the error, and the rest a new process. */
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
    if (worker === null || worker.exitCode !== null || worker.signalCode !== null) return
    worker.ref()
    worker.kill('SIGKILL')
    await once(worker, 'exit')
  }
}
