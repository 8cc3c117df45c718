/**
 * The table of error codes; docs/errors.md is generated from it.
 *
 * @example
 * ```ts
 * import { ERROR_CODES } from 'prudent/errors'
 *
 * console.log(ERROR_CODES.E_CANCELLED) // The call was aborted.
 * ```
 */
export const ERROR_CODES = {
  E_USAGE: 'The command line is wrong.',
  E_CONFIG: 'A configuration value is missing, unknown or out of range; the message names file, line and key.',
  E_NOT_BUILT:
    'The native addon or the TypeScript build is missing: run `npx prudent setup`, in a clone `npm start` (or `npm run build`).',
  E_TOOL: 'A tool or an optional npm package is missing or too old; the message names the package that has it.',
  E_BUILD: 'npm, CMake, the compiler or TypeScript failed during set-up; the message names the log.',
  E_LIBTORCH: 'libtorch was not found or differs from the version that the addon was built against.',
  E_NOT_FOUND: 'A file, folder, column, split or repository does not exist.',
  E_EXISTS: 'The output exists already; pass --overwrite or choose another.',
  E_LOCKED: 'Another process works in this run directory.',
  E_IO: 'Reading or writing failed.',
  E_CORRUPT_FILE: 'A file does not hold what its format promises.',
  E_UNSUPPORTED: 'The model, file format or option is not one that prudent supports.',
  E_MISSING_TENSOR: 'Weights lack a tensor that the model needs, or hold one that it does not know.',
  E_NO_HEAD: 'The model lacks the head that this call needs.',
  E_SHAPE: 'An array or tensor has the wrong shape or length.',
  E_DTYPE: 'An array or tensor has the wrong type.',
  E_RANGE: 'A number is outside its range.',
  E_TYPE: 'An argument has the wrong type.',
  E_TOO_LONG: 'An input has more tokens than the model has positions.',
  E_DATA: 'A row of a data set or an input line cannot be used.',
  E_NON_FINITE: 'A loss, gradient or score is not a finite number.',
  E_CANCELLED: 'The call was aborted.',
  E_TIMEOUT: 'A request was not answered before its deadline.',
  E_DISPOSED: 'The handle was disposed of.',
  E_BUSY: 'The queue is full, or the operation needs an idle executor.',
  E_OUT_OF_MEMORY: 'Memory ran out.',
  E_DEVICE: 'The device does not exist or failed.',
  E_OFFLINE: 'Offline mode is on and the file is not in the cache.',
  E_HUB: 'The hub refused or failed a request.',
  E_STATE: 'A checkpoint or run directory does not belong to this configuration.',
  E_WAITING: 'What comes next is being done by another shard, and waiting was ruled out: start this one again later.',
  E_DISTRIBUTED: 'Ranks that train together could not meet, or one of them ended; the message says which and why.',
  E_INTERNAL: 'A defect in prudent; please report it.',
} as const

/** One of the keys of `ERROR_CODES`. */
export type ErrorCode = keyof typeof ERROR_CODES

/** What an error says beside its code and message. */
export interface ErrorDetail {
  /** Name of the argument, with row and position where it has them: `ids[3][0]`. */
  argument?: string
  expected?: string
  received?: string
  cause?: unknown
}

/**
 * What every failure of this package looks like; `code` is stable, the message is for people.
 *
 * @example
 * ```ts
 * import { PrudentError, RewardModel } from 'prudent'
 *
 * await using model = await RewardModel.load('reward-model')
 * try {
 *   await model.score({ ids: [[2, 11], []] })
 * } catch (error) {
 *   if (!(error instanceof PrudentError)) throw error
 *   console.log(error.code, error.argument) // E_SHAPE ids[1]
 *   console.log(error.message) // ids[1]: expected at least one token, received none
 * }
 * ```
 */
export class PrudentError extends Error {
  readonly code: ErrorCode
  readonly argument: string | undefined
  readonly expected: string | undefined
  readonly received: string | undefined

  constructor(code: ErrorCode, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = code === 'E_CANCELLED' ? 'AbortError' : 'PrudentError'
    this.code = code
    this.argument = detail.argument
    this.expected = detail.expected
    this.received = detail.received
  }
}

/**
 * `argument: expected …, received …`, the one form of messages about arguments.
 *
 * @example
 * ```ts
 * import { argumentError } from 'prudent/errors'
 *
 * const error = argumentError('E_RANGE', 'lambda', 'a number >= 0', '-1')
 * console.log(error.code, error.message) // E_RANGE lambda: expected a number >= 0, received -1
 * ```
 */
export function argumentError(code: ErrorCode, argument: string, expected: string, received: string): PrudentError {
  return new PrudentError(code, `${argument}: expected ${expected}, received ${received}`, {
    argument,
    expected,
    received,
  })
}
