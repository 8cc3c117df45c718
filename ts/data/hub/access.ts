import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { PrudentError } from '../../errors.js'

export interface Repository {
  type: 'model' | 'dataset'
  /** `owner/name`. */
  name: string
}

export interface HubOptions {
  /** Cache folder; default as in Python: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub. */
  cacheFolder?: string | undefined
  /** Default HF_ENDPOINT, else https://huggingface.co. */
  endpoint?: string | undefined
  /** Default HF_TOKEN, else the token that `hf auth login` stored. */
  token?: string | undefined
  /** Default: HF_HUB_OFFLINE or PRUDENT_OFFLINE is set. */
  offline?: boolean | undefined
  /** Files downloaded at once. */
  concurrency?: number | undefined
  /** Milliseconds before the first new try; each further one waits four times as long. */
  retryDelay?: number | undefined
  signal?: AbortSignal | undefined
  /** Called with the number of files there so far. */
  progress?: ((done: number, total: number) => void) | undefined
}

/** What a request is for, as errors name it. */
export interface Subject {
  repository: Repository
  revision: string
  file?: string
}

/** Tries in a row that bring nothing before a request is given up. */
export const FRUITLESS_TRIES = 4

export function isOffline(environment: NodeJS.ProcessEnv = process.env): boolean {
  return [environment.HF_HUB_OFFLINE, environment.PRUDENT_OFFLINE].some((value) =>
    /^(1|on|yes|true)$/i.test(value ?? ''),
  )
}

function hubHome(): string {
  return process.env.HF_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface')
}

/** Python's cache of repositories: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub. */
export function hubCacheFolder(): string {
  return process.env.HF_HUB_CACHE ?? process.env.HUGGINGFACE_HUB_CACHE ?? join(hubHome(), 'hub')
}

export function hubEndpoint(options: HubOptions): string {
  return (options.endpoint ?? process.env.HF_ENDPOINT ?? 'https://huggingface.co').replace(/\/+$/, '')
}

async function hubToken(options: HubOptions): Promise<string | null> {
  const given = options.token ?? process.env.HF_TOKEN ?? process.env.HUGGING_FACE_HUB_TOKEN
  if (given) return given
  const stored = process.env.HF_TOKEN_PATH ?? join(hubHome(), 'token')
  return (await readFile(stored, 'utf8').catch(() => '')).trim() || null
}

/** A failure that may pass: of the network, or a server that is busy. */
export class PassingFailure extends Error {
  /** Milliseconds that the server asked to wait. */
  readonly after: number

  constructor(message: string, after = 0) {
    super(message)
    this.after = after
  }
}

/**
 * Requests with the token in the header: mirrors have tokens of other forms than the library accepts as its own argument. Refusals
 * become coded errors that say what to do; failures that may pass are thrown as they are.
 */
export function hubFetch(subject: Subject, options: HubOptions): typeof fetch {
  const { origin } = new URL(hubEndpoint(options))
  const { signal } = options
  return async (url, init) => {
    const token = await hubToken(options)
    const headers = new Headers(init?.headers)
    // fetch drops the header itself where a redirect leads to another host.
    if (token !== null && new URL(String(url)).origin === origin) headers.set('authorization', `Bearer ${token}`)
    const response = await fetch(url, { ...init, headers, ...(signal === undefined ? {} : { signal }) })
    if (response.ok) return response
    await response.body?.cancel()
    throw refusal(response, subject, token !== null, options)
  }
}

/** Tries again what failed in passing, with growing pauses; `progressed` begins the count anew. */
export async function persist<Result>(
  attempt: () => Promise<Result>,
  subject: Subject,
  options: HubOptions,
  progressed: () => Promise<boolean> = async () => false,
): Promise<Result> {
  for (let fruitless = 1; ; fruitless++) {
    try {
      return await attempt()
    } catch (cause) {
      throwIfAborted(options.signal)
      if (cause instanceof PrudentError || isDiskError(cause)) throw hubError(subject, cause)
      if (await progressed()) fruitless = 0
      if (fruitless >= FRUITLESS_TRIES) throw hubError(subject, cause)
      const asked = cause instanceof PassingFailure ? Math.min(cause.after, LONGEST_PAUSE_MS) : 0
      const pause = Math.max(asked, (options.retryDelay ?? 250) * 4 ** fruitless)
      await wait(pause, undefined, { ...(options.signal && { signal: options.signal }) }).catch(() =>
        throwIfAborted(options.signal),
      )
    }
  }
}

const LONGEST_PAUSE_MS = 60_000

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new PrudentError('E_CANCELLED', 'the download was stopped', { cause: signal.reason })
}

/** A full or failing disk is no matter of the network: trying again helps nothing. */
function isDiskError(cause: unknown): boolean {
  const { code } = cause as NodeJS.ErrnoException
  return ['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES', 'EPERM', 'EIO', 'EMFILE', 'ELOOP'].includes(code ?? '')
}

function describe({ repository, revision, file }: Subject): string {
  return `${repository.type} ${repository.name} (${revision})${file === undefined ? '' : `, ${file}`}`
}

/** A folder whose name was mistyped looks like an id. */
function noFolder({ repository, file }: Subject): string {
  return file === undefined ? `; nor is there a folder ${repository.name} here` : ''
}

export function hubError(subject: Subject, cause: unknown): PrudentError {
  if (cause instanceof PrudentError) return cause
  const { name, message, cause: inner } = cause as Error
  if (name === 'AbortError') return new PrudentError('E_CANCELLED', 'the download was stopped', { cause })
  if (isDiskError(cause)) return new PrudentError('E_IO', `${describe(subject)}: ${message}`, { cause })
  // fetch hides why a connection failed in the cause of its error.
  const reason = (inner as Error | undefined)?.message || (inner as NodeJS.ErrnoException | undefined)?.code || message
  const advice = cause instanceof PassingFailure ? '' : '; with HF_HUB_OFFLINE=1 what the cache holds is used'
  return new PrudentError('E_HUB', `${describe(subject)}: ${reason}${advice}${noFolder(subject)}`, { cause })
}

function refusal(response: Response, subject: Subject, hasToken: boolean, options: HubOptions): Error {
  const { status, headers } = response
  if (status === 429 || status >= 500) return new PassingFailure(`HTTP status ${status}`, retryAfter(headers))
  const what = describe(subject)
  const code = headers.get('x-error-code') ?? ''
  if (code === 'GatedRepo' || status === 403 || (status === 401 && code !== 'RepoNotFound'))
    return new PrudentError('E_HUB', `${what}: ${gatedAdvice(subject, status, hasToken, options)}`)
  if (status === 404 || code === 'RepoNotFound') {
    // The hub does not tell those without access that a private repository exists.
    const hidden = code === 'RepoNotFound' && !hasToken ? '; if it is private, set HF_TOKEN' : ''
    return new PrudentError(
      'E_NOT_FOUND',
      `${what}: the hub has no such repository, revision or file${hidden}${noFolder(subject)}`,
    )
  }
  const said = headers.get('x-error-message')
  return new PrudentError('E_HUB', `${what}: the hub refused with HTTP status ${status}${said ? `: ${said}` : ''}`)
}

/** Who may read a gated repository, and what is missing for it. */
function gatedAdvice(subject: Subject, status: number, hasToken: boolean, options: HubOptions): string {
  const { type, name } = subject.repository
  const page = `${hubEndpoint(options)}/${type === 'dataset' ? 'datasets/' : ''}${name}`
  const tokens = `${hubEndpoint(options)}/settings/tokens`
  if (!hasToken)
    return `access is restricted (${status}): accept its licence on ${page}, make a token that may read it on ${tokens}, and set HF_TOKEN to it`
  if (status === 401) return `the hub does not accept the token of HF_TOKEN (401): make a new one on ${tokens}`
  return `the account of HF_TOKEN has no access (${status}): accept the licence on ${page} with that account, and see on ${tokens} that the token may read gated repositories`
}

function retryAfter(headers: Headers): number {
  const value = headers.get('retry-after')
  if (value === null) return 0
  const seconds = Number(value)
  const milliseconds = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now()
  return Number.isFinite(milliseconds) ? Math.max(0, milliseconds) : 0
}
