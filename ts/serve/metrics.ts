/** Counts of a service as Prometheus reads them (text format 0.0.4). */
import type { ScoringService } from './scoring-service.js'

/** Seconds; a request of one text takes a few milliseconds on a small model, the deadline ends all at some ten seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

interface Durations {
  counts: number[]
  sum: number
  count: number
}

/** Routes and statuses come from a short list of ours, so their number is bounded. */
export class ServiceMetrics {
  readonly #answers = new Map<string, number>()
  readonly #durations = new Map<string, Durations>()

  /** @param route the route's pattern, never the address that was asked for */
  answered(route: string, status: number, seconds: number): void {
    const key = labels({ route, status: String(status) })
    this.#answers.set(key, (this.#answers.get(key) ?? 0) + 1)
    const durations = this.#durations.get(route) ?? { counts: BUCKETS.map(() => 0), sum: 0, count: 0 }
    this.#durations.set(route, durations)
    durations.sum += seconds
    durations.count += 1
    const bucket = BUCKETS.findIndex((limit) => seconds <= limit)
    if (bucket >= 0) durations.counts[bucket] = (durations.counts[bucket] as number) + 1
  }

  text(service: ScoringService): string {
    const { forwards, requests, rows, tokens, waiting, inFlight } = service.statistics
    const { user, system } = process.cpuUsage()
    const lines = [
      ...family('prudent_http_requests_total', 'counter', 'Answers by route and status.', [...this.#answers]),
      ...this.#durationLines(),
      ...single('prudent_forwards_total', 'counter', 'Forward passes of the model.', forwards),
      ...single('prudent_scored_requests_total', 'counter', 'Requests that were scored.', requests),
      ...single('prudent_scored_rows_total', 'counter', 'Texts that were scored.', rows),
      ...single('prudent_scored_tokens_total', 'counter', 'Tokens that were scored.', tokens),
      ...single('prudent_requests_in_flight', 'gauge', 'Requests at work or waiting.', inFlight),
      ...single('prudent_requests_waiting', 'gauge', 'Requests that wait for a forward pass.', waiting),
      ...single('prudent_ready', 'gauge', '1 while requests are taken.', service.ready ? 1 : 0),
      ...single('process_resident_memory_bytes', 'gauge', 'Resident memory.', process.memoryUsage.rss()),
      ...single('process_cpu_seconds_total', 'counter', 'CPU time of the process.', (user + system) / 1e6),
      ...single('process_start_time_seconds', 'gauge', 'Start of the process, Unix time.', startTime),
    ]
    return `${lines.join('\n')}\n`
  }

  #durationLines(): string[] {
    const name = 'prudent_http_request_duration_seconds'
    const lines = [...this.#durations].flatMap(([route, { counts, sum, count }]) => {
      let below = 0
      const buckets = BUCKETS.map((limit, at) => {
        below += counts[at] as number
        return `${name}_bucket${labels({ route, le: String(limit) })} ${below}`
      })
      const all = `${name}_bucket${labels({ route, le: '+Inf' })} ${count}`
      return [...buckets, all, `${name}_sum${labels({ route })} ${sum}`, `${name}_count${labels({ route })} ${count}`]
    })
    return [...heading(name, 'histogram', 'From the arrival of a request to its answer.'), ...lines]
  }
}

const startTime = Math.round(Date.now() / 1000 - process.uptime())

function heading(name: string, type: string, help: string): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`]
}

function family(name: string, type: string, help: string, values: [string, number][]): string[] {
  return [...heading(name, type, help), ...values.map(([key, value]) => `${name}${key} ${value}`)]
}

function single(name: string, type: string, help: string, value: number): string[] {
  return family(name, type, help, [['', value]])
}

function labels(values: Record<string, string>): string {
  const escaped = (text: string) => text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
  return `{${Object.entries(values)
    .map(([key, value]) => `${key}="${escaped(value)}"`)
    .join(',')}}`
}
