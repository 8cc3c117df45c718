import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'

export interface MlflowRun {
  experiment: string
  name: string
  status: string
  params: Record<string, string>
  /** By key: [step, value]. */
  metrics: Record<string, [number, number][]>
}

interface LogBatch {
  run_id: string
  metrics?: { key: string; value: number; timestamp: number; step: number }[]
  params?: { key: string; value: string }[]
}

/** The part of MLflow's REST API that the tracker uses, as strict as the real server about ids, limits and parameters that change. */
export class MlflowServer {
  readonly runs = new Map<string, MlflowRun>()
  readonly requests: { path: string; authorization: string | undefined }[] = []
  /** Requests that are answered with 500 before any is served. */
  failures = 0
  readonly #experiments = new Map<string, string>()
  readonly #server: Server

  constructor() {
    this.#server = createServer((request, response) => void this.#answer(request, response))
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '', 'http://localhost')
    this.requests.push({ path: url.pathname, authorization: request.headers.authorization })
    let body = ''
    for await (const chunk of request.setEncoding('utf8')) body += chunk
    const [status, answer] = this.failures-- > 0 ? [500, { error_code: 'INTERNAL_ERROR' }] : this.#serve(url, body)
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  }

  #serve(url: URL, body: string): [number, object] {
    const path = url.pathname.replace('/api/2.0/mlflow/', '')
    const given = (body === '' ? {} : JSON.parse(body)) as Record<string, string>
    if (path === 'experiments/get-by-name') {
      const id = this.#experiments.get(url.searchParams.get('experiment_name') ?? '')
      return id === undefined ? missing() : [200, { experiment: { experiment_id: id } }]
    }
    if (path === 'experiments/create') {
      if (this.#experiments.has(given.name as string)) return [400, { error_code: 'RESOURCE_ALREADY_EXISTS' }]
      this.#experiments.set(given.name as string, String(this.#experiments.size + 1))
      return [200, { experiment_id: String(this.#experiments.size) }]
    }
    if (path === 'runs/create') {
      const experiment = [...this.#experiments].find(([, id]) => id === given.experiment_id)?.[0]
      if (experiment === undefined) return missing()
      const run_id = `run${this.runs.size}`
      this.runs.set(run_id, { experiment, name: given.run_name as string, status: 'RUNNING', params: {}, metrics: {} })
      return [200, { run: { info: { run_id } } }]
    }
    const run = this.runs.get(given.run_id as string)
    if (run === undefined) return missing()
    if (path === 'runs/update') {
      run.status = given.status as string
      return [200, {}]
    }
    return path === 'runs/log-batch'
      ? logBatch(run, JSON.parse(body) as LogBatch)
      : [404, { error_code: 'ENDPOINT_NOT_FOUND' }]
  }
}

const missing = (): [number, object] => [404, { error_code: 'RESOURCE_DOES_NOT_EXIST', message: 'No such thing' }]

function logBatch(run: MlflowRun, { metrics = [], params = [] }: LogBatch): [number, object] {
  const tooMany = metrics.length > 1000 || params.length > 100 || metrics.length + params.length > 1000
  const clashes = params.some(({ key, value }) => (run.params[key] ?? value) !== value || value.length > 500)
  const broken = metrics.some(
    ({ key, value, step, timestamp }) => !/^[\w\-. /:]+$/.test(key) || ![value, step, timestamp].every(Number.isFinite),
  )
  if (tooMany || clashes || broken) return [400, { error_code: 'INVALID_PARAMETER_VALUE', message: 'bad batch' }]
  for (const { key, value } of params) run.params[key] = value
  for (const { key, value, step } of metrics) run.metrics[key] = [...(run.metrics[key] ?? []), [step, value]]
  return [200, {}]
}
