import type { HubRepository } from '../hub-server.js'
import { imdb, preferenceMix2, prefTestSets, rewardBench } from './datasets.js'
import { fsfairX, gemma2bIt, gpt2 } from './models.js'

/** A model as many were before safetensors. */
function pickled(): HubRepository {
  const files = {
    'config.json': { content: Buffer.from('{"model_type":"gpt2"}') },
    'pytorch_model.bin': { content: Buffer.from('a pickle'), lfs: true },
  }
  return { type: 'model', name: 'owner/pickled', commit: 'f'.repeat(40), branch: 'main', files }
}

/** Every repository that the paper's configurations name, and one that must be refused. */
export async function paperRepositories(): Promise<HubRepository[]> {
  const models = [await gpt2(), await gemma2bIt(), await fsfairX(), pickled()]
  return [...models, preferenceMix2(), imdb(), rewardBench(), prefTestSets()]
}
