// Names of the npm packages that hold a built addon. ts/addon/places.ts looks for the same ones.

/** Minor versions of libtorch that prudent builds against, newest first. */
export const SUPPORTED_MINORS = ['2.13', '2.12', '2.11']

/** prudent-linux-x64-torch2.13-cpu: an addon runs on the libtorch of its minor version, with CUDA on one with CUDA alone. */
export function platformPackageName(minor, cuda) {
  return `prudent-${process.platform}-${process.arch}-torch${minor}-${cuda ? 'cuda' : 'cpu'}`
}
