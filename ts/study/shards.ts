/** Which part of a study a process begins with: --shard i/n, or what a Slurm array or a Kubernetes indexed job says about itself. */
import { argumentError, PrudentError } from '../errors.js'

export interface Shard {
  /** 0 ≤ index < count */
  index: number
  count: number
}

type Environment = Readonly<Record<string, string | undefined>>

/**
 * `i/n`. Both ways of counting are taken, 0 to n - 1 and 1 to n: a shard begins with the units whose number is i modulo n, and either way
 * every unit has one shard.
 */
export function parseShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text.trim())
  const [index, count] = [Number(match?.[1]), Number(match?.[2])]
  if (!match || count < 1 || index > count || !Number.isSafeInteger(count)) {
    throw argumentError('E_USAGE', '--shard', 'i/n with 0 <= i <= n and n >= 1', text)
  }
  return { index: index % count, count }
}

/**
 * The shard that the environment names; null outside of an array.
 * @throws E_USAGE when an index is there and its count is not, or one of them is no number
 */
export function shardOfEnvironment(environment: Environment): Shard | null {
  return slurmShard(environment) ?? kubernetesShard(environment)
}

function slurmShard(environment: Environment): Shard | null {
  if (!environment.SLURM_ARRAY_TASK_ID) return null
  const read = (name: string, otherwise?: number) => integer(environment, name, otherwise)
  const [id, count] = [read('SLURM_ARRAY_TASK_ID'), read('SLURM_ARRAY_TASK_COUNT')]
  const [first, step] = [read('SLURM_ARRAY_TASK_MIN', 0), read('SLURM_ARRAY_TASK_STEP', 1)]
  return within(Math.floor((id - first) / Math.max(step, 1)), count)
}

/** Kubernetes tells a pod its index and nobody how many there are: the job's spec has to say so once more. */
export const SHARD_COUNT_VARIABLE = 'PRUDENT_SHARD_COUNT'

function kubernetesShard(environment: Environment): Shard | null {
  if (!environment.JOB_COMPLETION_INDEX) return null
  return within(integer(environment, 'JOB_COMPLETION_INDEX'), integer(environment, SHARD_COUNT_VARIABLE))
}

/** The index only says where a shard begins, so one beyond the count (an array of chosen numbers, 1,5,9) starts somewhere too. */
function within(index: number, count: number): Shard {
  if (count < 1) throw argumentError('E_USAGE', 'number of shards', 'an integer >= 1', String(count))
  return { index: ((index % count) + count) % count, count }
}

function integer(environment: Environment, name: string, otherwise?: number): number {
  const text = environment[name]
  if ((text === undefined || text === '') && otherwise !== undefined) return otherwise
  if (text === undefined || !/^\d+$/.test(text)) {
    throw new PrudentError(
      'E_USAGE',
      `${name}: expected an integer >= 0, received ${text ?? 'nothing'}; --shard i/n says it instead`,
      {
        argument: name,
        expected: 'an integer >= 0',
        received: text ?? 'nothing',
      },
    )
  }
  return Number(text)
}

/** Own units first, then those of the others: a shard with nothing left of its own takes what nobody has begun. */
export function inShardOrder<T>(units: readonly T[], shard: Shard): T[] {
  const own = (_: T, i: number) => i % shard.count === shard.index
  return [...units.filter(own), ...units.filter((unit, i) => !own(unit, i))]
}
