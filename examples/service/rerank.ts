/**
 * Best of n by a lower bound: the response whose mean score less lambda standard deviations (over reward heads) is highest. A response
 * that only some heads like loses against one that all of them like a little less.
 *
 *   node dist/examples/service/rerank.js FOLDER-OR-HUB-ID
 *   curl -s localhost:3000/best -H 'content-type: application/json' -d '{"prompt": "…", "responses": ["…", "…"], "lambda": 1}'
 */
import { fileURLToPath } from 'node:url'
import fastify, { type FastifyInstance } from 'fastify'
import prudent, { ScoringService } from 'prudent/fastify'

interface Candidates {
  prompt: string
  responses: string[]
  /** How many standard deviations are taken off the mean; 0 is the mean alone. */
  lambda: number
}

const schema = {
  body: {
    type: 'object',
    required: ['prompt', 'responses'],
    additionalProperties: false,
    properties: {
      prompt: { type: 'string', minLength: 1 },
      responses: { type: 'array', minItems: 1, maxItems: 64, items: { type: 'string', minLength: 1 } },
      lambda: { type: 'number', minimum: 0, default: 1 },
    },
  },
} as const

/** A service of your own; what is prudent's lies under /rewards beside it. */
export async function rerankApp(model: string): Promise<FastifyInstance> {
  const service = await ScoringService.load(model)
  const app = fastify()
  await app.register(prudent, { service, prefix: '/rewards' })
  app.addHook('onClose', () => service.dispose())

  app.post<{ Body: Candidates }>('/best', { schema }, async ({ body, signal }) => {
    const { prompt, responses, lambda } = body
    const { rows } = await service.score(
      responses.map((response) => ({ prompt, response })),
      { signal },
    )
    const ranked = rows
      .map(({ mean, std }, index) => ({ index, mean, std, bound: mean - lambda * (std ?? 0) }))
      .sort((a, b) => b.bound - a.bound)
    return { best: responses[ranked[0]?.index ?? 0], ranked }
  })
  return app
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const app = await rerankApp(process.argv[2] ?? '')
  console.log(await app.listen({ port: 3000 }))
}
