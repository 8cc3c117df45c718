// Ours as a process: the server of `prudent serve` over a model without a tokenizer. Argument: { folder, dtype, int8, threads, settings }.
import { configureExecutor, RewardModel } from '../../dist/ts/index.js'
import { ScoringService } from '../../dist/ts/serve/scoring-service.js'
import { startServer } from '../../dist/ts/serve/server.js'

const { folder, dtype, int8, threads, settings } = JSON.parse(process.argv[2])
configureExecutor({ lanes: 1, threadsPerLane: threads })
const model = await RewardModel.load(folder, { dtype, int8 })
const service = new ScoringService({
  ...{ name: 'bench', model: model.native, tokenizer: null, settings },
  release: () => model.dispose(),
})
const server = await startServer(service, { host: '127.0.0.1', port: 0, onError: (error) => console.error(error) })
process.stdout.write(`${JSON.stringify({ url: server.url })}\n`)
process.once('SIGTERM', () => server.close(5000))
