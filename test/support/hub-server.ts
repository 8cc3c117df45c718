import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface HubFile {
  content: Buffer
  /** Stored as a large file: the tree names its SHA-256, and resolve redirects to another host. */
  lfs?: boolean
  /** The server lists this hash in place of the true one. */
  listedHash?: string
}

export interface HubRepository {
  type: 'model' | 'dataset'
  name: string
  commit: string
  branch: string
  files: Record<string, HubFile>
  /** Needed to see the repository, or the files of a gated one. */
  token?: string
  /** Its page and its list of files are public, its files are not. */
  gated?: boolean
  /** A name from before the repository moved; the hub sends requests on. */
  formerName?: string
}

export interface HubRequest {
  path: string
  range: string | undefined
  authorization: string | undefined
  host: string | undefined
}

/** Speaks as much of the hub's HTTP API as clients use: repository info, paged trees, resolve with LFS redirect, ETag and Range. */
export class HubServer {
  readonly requests: HubRequest[] = []
  /** Close the connection after this many bytes of the next large-file answers, one entry an answer. */
  readonly cuts: number[] = []
  /** Statuses to answer the next large-file requests with. */
  readonly failures: number[] = []
  /** Statuses to answer the next requests for repository information with. */
  readonly apiFailures: number[] = []
  /** What the next answers to large-file requests do wrong, one entry an answer. */
  readonly lies: (null | 'ignores the range' | 'sends another range' | 'sends more' | 'sends other bytes')[] = []
  /** Most file requests that were open at once; answers are held for a moment, so that they overlap. */
  mostAtOnce = 0
  #open = 0
  readonly #server: Server
  readonly #repositories: HubRepository[]

  private constructor(repositories: HubRepository[]) {
    this.#repositories = repositories
    this.#server = createServer((request, response) => this.#answer(request, response))
  }

  static async start(repositories: HubRepository[]): Promise<HubServer> {
    const hub = new HubServer(repositories)
    await new Promise<void>((resolve) => hub.#server.listen(0, resolve))
    return hub
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }
  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`
  }
  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve())
    })
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.endpoint)
    const { range, authorization, host } = request.headers
    this.requests.push({ path: url.pathname, range, authorization, host })
    if (url.pathname.startsWith('/lfs/')) return this.#sendLarge(url.pathname.slice(5), request, response)
    const moved = this.#repositories.find(
      ({ formerName }) => formerName !== undefined && isOf(url.pathname, formerName),
    )
    if (moved !== undefined) {
      const to = url.pathname.replace(`/${moved.formerName}`, `/${moved.name}`)
      return void response.writeHead(307, { Location: `${to}${url.search}` }).end()
    }
    const repository = this.#repositories.find(
      ({ type, name }) =>
        isOf(url.pathname, name) && (type === 'dataset') === /^\/(api\/)?datasets\//.test(url.pathname),
    )
    // Whether there is no such repository or only none for this reader, the hub does not tell.
    if (repository === undefined || !this.#mayList(repository, authorization)) {
      response.setHeader('X-Error-Code', 'RepoNotFound')
      return json(response, authorization === undefined ? 401 : 404, { error: 'Repository not found' })
    }
    const failure = url.pathname.startsWith('/api/') ? this.apiFailures.shift() : undefined
    if (failure !== undefined) return json(response, failure, { error: 'try again' })
    const api = `/api/${repository.type}s/${repository.name}`
    if (url.pathname.startsWith(`${api}/revision/`))
      return this.#info(repository, decodeURIComponent(url.pathname.slice(api.length + 10)), response)
    if (url.pathname === api) return this.#info(repository, repository.branch, response)
    if (url.pathname.startsWith(`${api}/tree/`)) return this.#tree(repository, url, response)
    const base = `${repository.type === 'dataset' ? '/datasets' : ''}/${repository.name}/resolve/${repository.commit}/`
    if (url.pathname.startsWith(base) && this.#refuse(repository, authorization, response)) return
    if (url.pathname.startsWith(base))
      return this.#resolve(repository, decodeURIComponent(url.pathname.slice(base.length)), request, response)
    json(response, 404, { error: 'Not found' })
  }

  #mayList({ token, gated }: HubRepository, authorization: string | undefined): boolean {
    return token === undefined || gated === true || authorization === `Bearer ${token}`
  }

  /** Answers a request for a file of a gated repository whose reader has not accepted its licence. */
  #refuse({ token, gated, name }: HubRepository, authorization: string | undefined, response: ServerResponse): boolean {
    if (!gated || authorization === `Bearer ${token}`) return false
    response.setHeader('X-Error-Code', 'GatedRepo')
    json(response, authorization === undefined ? 401 : 403, { error: `Access to model ${name} is restricted` })
    return true
  }

  #info(repository: HubRepository, revision: string, response: ServerResponse): void {
    if (revision !== repository.branch && revision !== repository.commit)
      return json(response, 404, { error: 'Revision not found' }, 'RevisionNotFound')
    json(response, 200, {
      _id: '1',
      id: repository.name,
      sha: repository.commit,
      private: false,
      downloads: 0,
      likes: 0,
      gated: false,
    })
  }

  /** Two entries a page, so that every listing of more takes several requests. */
  #tree(repository: HubRepository, url: URL, response: ServerResponse): void {
    const names = Object.keys(repository.files)
    const start = Number(url.searchParams.get('cursor') ?? 0)
    const entries = names.slice(start, start + 2).map((path) => treeEntry(path, repository.files[path] as HubFile))
    if (start + 2 < names.length) {
      const next = new URL(url)
      next.searchParams.set('cursor', String(start + 2))
      response.setHeader('Link', `<${next}>; rel="next"`)
    }
    json(response, 200, entries)
  }

  #resolve(repository: HubRepository, path: string, request: IncomingMessage, response: ServerResponse): void {
    const file = repository.files[path]
    if (file === undefined) {
      response.setHeader('X-Error-Code', 'EntryNotFound')
      return json(response, 404, { error: 'Entry not found' })
    }
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#open)
    response.on('close', () => this.#open--)
    setTimeout(() => this.#sendFile(repository, path, file, request, response), 20)
  }

  #sendFile(
    repository: HubRepository,
    path: string,
    file: HubFile,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    response.setHeader('X-Repo-Commit', repository.commit)
    response.setHeader('ETag', `"${hashOf(file)}"`)
    if (!file.lfs) return send(file.content, request, response, null)
    // Another host name, as the hub's storage has one: credentials must not follow.
    response.writeHead(302, {
      Location: `http://localhost:${this.port}/lfs/${encodeURIComponent(repository.name)}/${encodeURIComponent(path)}`,
    })
    response.end()
  }

  #sendLarge(key: string, request: IncomingMessage, response: ServerResponse): void {
    const [name, path] = key.split('/').map(decodeURIComponent)
    const file = this.#repositories.find((repository) => repository.name === name)?.files[path ?? '']
    if (file === undefined) return json(response, 404, { error: 'Not found' })
    const failure = this.failures.shift()
    if (failure !== undefined) return json(response, failure, { error: 'try again' })
    const lie = this.lies.shift()
    if (lie === 'ignores the range') delete request.headers.range
    if (lie === 'sends another range') request.headers.range = 'bytes=1-'
    const other = lie === 'sends other bytes' ? Buffer.alloc(file.content.length, 'x') : null
    const more = lie === 'sends more' ? Buffer.concat([file.content, file.content]) : null
    send(other ?? more ?? file.content, request, response, this.cuts.shift() ?? null)
  }
}

function treeEntry(path: string, file: HubFile): object {
  const oid = file.lfs ? gitHash(Buffer.from(`pointer to ${path}`)) : hashOf(file)
  const entry = { type: 'file', path, size: file.content.length, oid }
  return file.lfs ? { ...entry, lfs: { oid: hashOf(file), size: file.content.length, pointerSize: 130 } } : entry
}

function hashOf(file: HubFile): string {
  if (file.listedHash !== undefined) return file.listedHash
  return file.lfs ? createHash('sha256').update(file.content).digest('hex') : gitHash(file.content)
}

function gitHash(content: Buffer): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex')
}

function send(content: Buffer, request: IncomingMessage, response: ServerResponse, cut: number | null): void {
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '')
  const start = range === null ? 0 : Number(range[1])
  const end = range?.[2] ? Number(range[2]) + 1 : content.length
  const body = content.subarray(start, end)
  response.writeHead(range === null ? 200 : 206, {
    'Content-Length': body.length,
    ...(range === null ? {} : { 'Content-Range': `bytes ${start}-${end - 1}/${content.length}` }),
  })
  if (cut === null || cut >= body.length) return void response.end(body)
  response.write(body.subarray(0, cut), () => setTimeout(() => response.destroy(), 30))
}

function isOf(path: string, name: string): boolean {
  const rest = path.replace(/^\/(api\/models\/|api\/datasets\/|datasets\/)?/, '')
  return rest === name || rest.startsWith(`${name}/`)
}

function json(response: ServerResponse, status: number, body: unknown, code?: string): void {
  if (code !== undefined) response.setHeader('X-Error-Code', code)
  response.writeHead(status, { 'Content-Type': 'application/json' })
  response.end(JSON.stringify(body))
}
