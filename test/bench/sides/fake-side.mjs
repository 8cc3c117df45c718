// A side for tests: holds as much memory as it is told to during a run, and answers with the scores that it was given.
import { answerCalls } from '../../../bench/support/answer.mjs'

let given

await answerCalls({
  hello: () => ({ versions: { fake: '1' } }),
  load: ({ options }) => {
    if (options.scores.length === 0) {
      process.stderr.write('no scores given\n')
      process.exit(3)
    }
    given = options
    return { held: 0 }
  },
  check: () => ({ scores: given.scores }),
  run: () => {
    const start = performance.now()
    const held = Buffer.alloc(given.megabytes * 2 ** 20, 1)
    return { seconds: (performance.now() - start) / 1000 + held[0] * 1e-6, tokens: 10 }
  },
})
