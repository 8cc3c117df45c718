import type { Command } from 'commander'
import { command } from './support/session.js'

const HELP = `
In a project that has installed prudent, libtorch and the addon come into the user's cache (PRUDENT_CACHE, else $XDG_CACHE_HOME/prudent,
else ~/.cache/prudent), never into node_modules. The addon is that of a platform package where one is installed for this libtorch,
otherwise it is built, which needs a C++20 compiler and CMake. In a clone this is \`npm run build\`.

PRUDENT_LIBTORCH names a folder with include/ and lib/ of libtorch to use; otherwise the cache, an importable Python torch, or pip.
Run again it does what is missing or out of date, and nothing else.`

export function register(program: Command): void {
  program
    .command('setup')
    .description('get libtorch and the native addon ready')
    .addHelpText('after', HELP)
    .action(
      command(async (session) => {
        const { runSetUp } = await import('./support/set-up.js')
        await runSetUp(session.signal)
      }),
    )
}
