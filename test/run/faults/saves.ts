/** Weights and a trainer's state, each saved without a sync and with one: `node saves.js FOLDER`. */
import { join } from 'node:path'
import { loadAddon } from '../../../ts/addon/load.js'
import { createPolicy } from '../../addon/small-models.js'

const at = (name: string) => join(process.argv[2] as string, name)
const model = await createPolicy()
const trainer = await loadAddon().createLanguageModelTrainer(model, { batchTokens: 64 })
// The default comes last: what the other leaves behind on the thread would show.
await model.save(at('unsynced'), { sync: false })
await model.save(at('synced'))
await trainer.saveState(at('unsynced.safetensors'), { sync: false })
await trainer.saveState(at('synced.safetensors'))
await trainer.dispose()
await model.dispose()
