import { PrudentError } from '../../errors.js'

export interface Finding {
  level: 'ok' | 'warning' | 'error'
  /** Key of the configuration. */
  key: string
  message: string
  /** Of an error. */
  code?: string
}

/** What validation found, in the order of its checks; a check that fails stops neither the others nor the command. */
export class Findings {
  readonly all: Finding[] = []

  ok(key: string, message: string): void {
    this.all.push({ level: 'ok', key, message })
  }
  warn(key: string, message: string): void {
    this.all.push({ level: 'warning', key, message })
  }
  fail(key: string, code: string, message: string): void {
    this.all.push({ level: 'error', key, message, code })
  }

  get failed(): boolean {
    return this.all.some((finding) => finding.level === 'error')
  }

  /** The check's value, or null where it failed. */
  async check<Value>(key: string, body: () => Promise<Value>): Promise<Value | null> {
    try {
      return await body()
    } catch (error) {
      if (!(error instanceof PrudentError) || error.code === 'E_CANCELLED') throw error
      this.fail(key, error.code, error.message)
      return null
    }
  }
}

/** One line a finding. */
export function describeFindings(findings: readonly Finding[]): string {
  const mark = { ok: 'ok     ', warning: 'warning', error: 'ERROR  ' }
  const lines = findings.map(
    ({ level, key, message, code }) => `${mark[level]} ${key}: ${code === undefined ? '' : `${code}: `}${message}`,
  )
  return `${lines.join('\n')}\n`
}
