import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** What scripts/full-size/stage.mjs prints. */
export interface StageReport {
  tokens: number
  loadSeconds: number
  /** Bytes, resident. */
  predicted: number
  peak: number
  finite?: boolean
  distinct?: number
  losses?: [number, number]
  steps?: { seconds: number; loss: number; gradNorm: number }[]
  stateFile?: number
}

const scripts = join('scripts', 'full-size')

export async function makeModel(name: string, folder: string): Promise<void> {
  await promisify(execFile)(process.execPath, [join(scripts, 'make-model.mjs'), name, folder])
}

export async function runStage(stage: string, folder: string, ...more: string[]): Promise<StageReport> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(scripts, 'stage.mjs'), stage, folder, ...more])
  return JSON.parse(stdout)
}
