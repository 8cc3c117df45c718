import { type ErrorCode, PrudentError } from '../errors.js'

/** The body of every failure, as vLLM writes it, and prudent's own code beside it. */
export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: number; reason: string }
}

const STATUS: Partial<Record<ErrorCode, number>> = {
  E_NOT_FOUND: 404,
  E_CONFIG: 400,
  E_DATA: 400,
  E_RANGE: 400,
  E_SHAPE: 400,
  E_TYPE: 400,
  E_TOO_LONG: 400,
  E_BUSY: 429,
  // Nobody reads it: the client went away.
  E_CANCELLED: 499,
  E_DISPOSED: 503,
  E_OUT_OF_MEMORY: 503,
  E_TIMEOUT: 504,
}

const TYPES: Record<number, string> = {
  401: 'AuthenticationError',
  404: 'NotFoundError',
  413: 'RequestTooLargeError',
  415: 'UnsupportedMediaTypeError',
  429: 'RateLimitError',
  499: 'ClientClosedRequestError',
  503: 'ServiceUnavailableError',
  504: 'TimeoutError',
}

/** A refusal that comes of HTTP alone. */
export class HttpError extends Error {
  readonly statusCode: number

  constructor(statusCode: number, message: string) {
    super(message)
    this.statusCode = statusCode
  }
}

/** Status and body of a failure. What the caller cannot have caused is named by its code alone; its message goes to the log. */
export function errorAnswer(error: unknown): { status: number; body: ErrorBody } {
  if (error instanceof PrudentError) {
    const status = STATUS[error.code] ?? 500
    const message = status === 500 ? 'the request could not be answered' : error.message
    return answer(status, message, error.code, error.argument)
  }
  const { statusCode, message = '', code = '' } = error as Partial<HttpError & { code: string }>
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return answer(statusCode, message, /^FST_/.test(code) ? code : 'E_REQUEST')
  return answer(500, 'the request could not be answered', 'E_INTERNAL')
}

function answer(status: number, message: string, reason: string, argument?: string) {
  const type = TYPES[status] ?? (status < 500 ? 'BadRequestError' : 'InternalServerError')
  return { status, body: { error: { message, type, param: argument ?? null, code: status, reason } } }
}
