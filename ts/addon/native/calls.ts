/** Rows of token ids, cancel tokens and progress: what every call has in common. Conventions: ../native.ts. */

/** Of a model's weights and matrix products. */
export type Dtype = 'float32' | 'bfloat16'
/** Rows of token ids laid end to end: `ids.length === sum(lengths)`, every length >= 1. */
export interface TokenRows {
  ids: Int32Array
  lengths: Int32Array
}

export interface NativeCancelToken {
  cancel(): void
}
export interface NativeCall {
  token?: NativeCancelToken
  progress?: (done: number, total: number) => void
}
