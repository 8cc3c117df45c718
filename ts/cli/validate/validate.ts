import { access, constants, stat, statfs } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { loadAddon } from '../../addon/load.js'
import { gigabytes, type HubOptions } from '../../data/hub.js'
import { expandHome, isHubId, lookedForIn, pathExists } from '../../data/sources.js'
import { loadAnyConfig } from '../support/any-config.js'
import type { ConfigKind } from '../support/options.js'
import type { Session } from '../support/session.js'
import { checkData } from './data-check.js'
import { describeFindings, Findings } from './findings.js'
import { checkModel, checkTokenizer, type KnownModel } from './model-check.js'
import { type ModelNeed, type Needs, needsOf } from './needs.js'

export interface ValidateOptions {
  config: string
  as?: ConfigKind
  set: string[]
  output?: string
  json?: boolean
}

/** `prudent validate`: everything that can be known of a run before it starts, all of it, not only the first problem. */
export async function runValidate(session: Session, options: ValidateOptions): Promise<void> {
  const findings = new Findings()
  const hub: HubOptions = { signal: session.signal }
  const any = await loadAnyConfig(options.config, options)
  findings.ok('config', `${options.config}: a configuration of ${any.kind}`)
  const needs = needsOf(any)
  const models = await checkModels(session, needs, findings, hub)
  for (const need of needs.data) {
    session.note(`${need.key}: ${need.source.path}`)
    await checkData(need, models.get(need.model), findings, hub)
  }
  for (const { key, path } of needs.files) await checkFile(key, path, findings)
  checkLengths(needs, models, findings)
  checkHeads(needs, models, findings)
  checkDevice(needs, findings)
  if (options.output !== undefined) await checkOutput(options.output, needs, models, findings)
  const text = describeFindings(findings.all)
  process.stdout.write(options.json ? `${JSON.stringify({ kind: any.kind, findings: findings.all }, null, 2)}\n` : text)
  if (findings.failed) process.exitCode = 1
}

async function checkModels(session: Session, needs: Needs, findings: Findings, hub: HubOptions) {
  const models = new Map<string, KnownModel>()
  for (const need of needs.models) {
    session.note(`${need.key}: ${need.reference.path}`)
    models.set(need.key, await checkModel(need, findings, hub))
  }
  for (const need of needs.tokenizers) models.set(need.key, await checkTokenizer(need, findings, hub))
  return models
}

async function checkFile(key: string, path: string, findings: Findings): Promise<void> {
  if (await pathExists(expandHome(path))) findings.ok(key, path)
  else if (isHubId(path))
    findings.warn(key, `${path}: not on this machine; it is fetched from the hub when it is needed`)
  else findings.fail(key, 'E_NOT_FOUND', `${path}: no such file or folder${lookedForIn(path)}`)
}

function checkLengths(needs: Needs, models: ReadonlyMap<string, KnownModel>, findings: Findings): void {
  for (const { key, tokens, model } of needs.lengths) {
    const positions = models.get(model)?.info?.maxPositions
    if (positions === undefined) continue
    if (tokens <= positions) findings.ok(key, `${tokens} tokens of the model's ${positions} positions`)
    else findings.fail(key, 'E_TOO_LONG', `${tokens} tokens for a model of ${positions} positions`)
  }
}

function checkHeads(needs: Needs, models: ReadonlyMap<string, KnownModel>, findings: Findings): void {
  for (const { key, model, numbers } of needs.heads) {
    const heads = models.get(model)?.info?.numLabels
    if (heads === undefined) continue
    const wrong = numbers.filter((number) => number >= heads)
    if (wrong.length > 0) findings.fail(key, 'E_RANGE', `head ${wrong.join(', ')} of a model with ${heads} heads`)
  }
}

/** A login node may lack what the node of the run has: no error. */
function checkDevice({ device }: Needs, findings: Findings): void {
  if (device === 'cpu') return
  const { cuda } = loadAddon().systemInfo()
  const index = Number(device.split(':')[1] ?? 0)
  if (cuda.devices.some((candidate) => candidate.index === index)) findings.ok('device', device)
  else if (!cuda.built) findings.warn('device', `${device}: this build has no CUDA ("prudent doctor" says why)`)
  else findings.warn('device', `${device}: this machine has ${cuda.devices.length} CUDA devices`)
}

async function checkOutput(
  output: string,
  needs: Needs,
  models: ReadonlyMap<string, KnownModel>,
  findings: Findings,
): Promise<void> {
  let nearest = resolve(output)
  while (!(await pathExists(nearest))) nearest = dirname(nearest)
  const writable =
    (await stat(nearest)).isDirectory() &&
    (await access(nearest, constants.W_OK).then(
      () => true,
      () => false,
    ))
  if (!writable) return findings.fail('output', 'E_IO', `${output}: ${nearest} cannot be written`)
  const bytes = needs.models.reduce((sum, need) => sum + checkpointBytes(need, models, needs), 0)
  const { bavail, bsize } = await statfs(nearest)
  const free = bavail * bsize
  const message = `${output}: about ${gigabytes(bytes)} of checkpoints and model, ${gigabytes(free)} free`
  if (bytes <= free) findings.ok('output', message)
  else findings.fail('output', 'E_IO', message)
}

/** Weights, two fp32 moments, and fp32 masters of bf16 weights, for each checkpoint; and the model at the end. */
function checkpointBytes(need: ModelNeed, models: ReadonlyMap<string, KnownModel>, needs: Needs): number {
  const info = models.get(need.key)?.info
  if (info === undefined || info === null || need.trained === 'none') return 0
  const half = needs.dtype === 'bfloat16' || (needs.dtype === 'auto' && needs.device !== 'cpu')
  const weights = info.parameterCount * (half ? 2 : 4)
  if (need.trained === 'heads') return weights
  const state = info.parameterCount * (half ? 12 : 8)
  return needs.checkpoints * (weights + state) + weights
}
