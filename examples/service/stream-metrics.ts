/**
 * Metrics of a training as they come: read by `for await` in the same process, and served as lines of JSON that any client can read
 * while the training runs. The training goes at the pace of its reader and ends when the reader goes away.
 *
 *   node dist/examples/service/stream-metrics.js FOLDER
 *   curl -N localhost:3000/train?steps=10
 */
import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import fastify, { type FastifyInstance } from 'fastify'
import { type PpoRun, ppo } from './ppo.js'

/** Prefers short responses: what a reward function looks like. */
export const brevity: PpoRun['reward'] = (_prompts, responses) => responses.map((response) => -response.length / 10)

/** Trains until the mean reward has not risen for `patience` steps; gives back the best. */
export async function trainWhileItHelps(run: PpoRun, patience: number): Promise<{ best: number; steps: number }> {
  let [best, bestAt, steps] = [Number.NEGATIVE_INFINITY, 0, 0]
  for await (const { step, meanReward } of ppo(run)) {
    steps = step
    if (meanReward > best) [best, bestAt] = [meanReward, step]
    if (step - bestAt >= patience) break
  }
  return { best, steps }
}

export function metricsApp(run: Omit<PpoRun, 'steps' | 'signal'>): FastifyInstance {
  const app = fastify()
  app.get<{ Querystring: { steps?: string } }>('/train', async (request, reply) => {
    const stop = new AbortController()
    reply.raw.once('close', () => stop.abort())
    const steps = Math.min(1000, Math.max(1, Number(request.query.steps) || 10))
    return reply.type('application/x-ndjson').send(Readable.from(lines({ ...run, steps, signal: stop.signal })))
  })
  return app
}

async function* lines(run: PpoRun): AsyncGenerator<string> {
  for await (const { step, meanReward, meanKl, sample } of ppo(run))
    yield `${JSON.stringify({ step, meanReward, meanKl, sample })}\n`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const prompts = ['Write a haiku.', 'Name a colour.', 'Say hello.', 'Tell me a joke.']
  const app = metricsApp({ model: process.argv[2] ?? '', prompts, reward: brevity })
  console.log(await app.listen({ port: 3000 }))
}
