// Looks for the CUDA compiler without assuming where it is.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { run } from './command.mjs'
import { findOnPath, findPython } from './tools.mjs'

/** nvcc of $CUDACXX (then of nowhere else), $CUDA_HOME, $CUDA_PATH, PATH or /usr/local/cuda; undefined when there is none. */
export function findNvcc() {
  const { CUDACXX, CUDA_HOME, CUDA_PATH } = process.env
  if (CUDACXX) return findOnPath(CUDACXX)
  const homes = [CUDA_HOME, CUDA_PATH].filter(Boolean).map((home) => join(home, 'bin', 'nvcc'))
  return [...homes, 'nvcc', '/usr/local/cuda/bin/nvcc'].map(findOnPath).find((file) => file !== undefined)
}

/** As `findNvcc`, and the compiler of PyPI's nvidia-cuda-nvcc, which takes a Python process to find. */
export async function findNvccThorough() {
  const nvcc = findNvcc()
  const python = nvcc || process.env.CUDACXX ? undefined : findPython()
  if (!python) return nvcc
  const script =
    'import importlib.util as u; s = u.find_spec("nvidia"); print("\\n".join(s.submodule_search_locations) if s else "")'
  const { status, output } = await run(python, ['-c', script])
  if (status !== 0) return undefined
  const folders = output.trim().split('\n').filter(Boolean)
  const candidates = folders.flatMap((folder) =>
    ['cu13', 'cu12', 'cuda_nvcc'].map((part) => join(folder, part, 'bin', 'nvcc')),
  )
  return candidates.map(findOnPath).find((file) => file !== undefined)
}

export function hasNvidiaDriver() {
  return existsSync('/dev/nvidiactl') || existsSync('/proc/driver/nvidia/version')
}
