import { Presets, SingleBar } from 'cli-progress'

export interface Progress {
  /** `done` of the total so far; the total may become known later. */
  update(done: number, total?: number): void
  /** Ends the bar or prints the last line; safe twice. */
  stop(): void
}

/** Plain lines come at most this often (milliseconds), so that logs stay short. */
const PLAIN_INTERVAL = 5000

/** A bar on a terminal, plain lines elsewhere; always on standard error. */
export function startProgress(label: string, total?: number): Progress {
  return process.stderr.isTTY === true && process.env.TERM !== 'dumb' ? bar(label, total) : plainLines(label, total)
}

function bar(label: string, total: number | undefined): Progress {
  const format =
    total === undefined
      ? `${label} {value} rows, {duration_formatted}`
      : `${label} {bar} {value}/{total}, {eta_formatted} left`
  const single = new SingleBar(
    { format, stream: process.stderr, hideCursor: true, clearOnComplete: false },
    Presets.shades_classic,
  )
  single.start(total ?? 0, 0)
  let running = true
  return {
    update(done, newTotal) {
      if (newTotal !== undefined) single.setTotal(newTotal)
      single.update(done)
    },
    stop() {
      if (running) single.stop()
      running = false
    },
  }
}

function plainLines(label: string, total: number | undefined): Progress {
  const started = Date.now()
  let printed = started
  let latest = { done: 0, total }
  let running = true
  const print = () => {
    const seconds = ((Date.now() - started) / 1000).toFixed(1)
    const of = latest.total === undefined ? '' : `/${latest.total}`
    process.stderr.write(`${label}: ${latest.done}${of}, ${seconds} s\n`)
  }
  return {
    update(done, newTotal) {
      latest = { done, total: newTotal ?? latest.total }
      if (Date.now() - printed < PLAIN_INTERVAL) return
      printed = Date.now()
      print()
    },
    stop() {
      if (running) print()
      running = false
    },
  }
}

/** One bar at a time: a new label ends the one before. */
export function progressBars(session: { note(line: string): void; progress(label: string, total?: number): Progress }) {
  let current: { label: string; bar: Progress } | null = null
  const stop = () => {
    current?.bar.stop()
    current = null
  }
  return {
    stop,
    note(line: string) {
      stop()
      session.note(line)
    },
    progress(label: string, done: number, total: number) {
      if (current?.label !== label) {
        stop()
        current = { label, bar: session.progress(label, total) }
      }
      current.bar.update(done, total)
    },
  }
}

/** A session whose bars and lines take turns with those of `bars`. */
export function withBars<S extends { note(line: string): void; progress(label: string, total?: number): Progress }>(
  session: S,
  bars: ReturnType<typeof progressBars>,
): S {
  const progress = (label: string, total = 0): Progress => ({
    update: (done, newTotal) => bars.progress(label, done, newTotal ?? total),
    stop: bars.stop,
  })
  return { ...session, note: bars.note, progress }
}
