/** The thread that renders chat templates: whatever a template does, it does it here, and is ended from outside when it takes too long. */
import { parentPort, workerData } from 'node:worker_threads'
import { ChatTemplate, type Message } from '../data/chat-template.js'
import { PrudentError } from '../errors.js'

export interface TemplateWorkerData {
  sources: ReadonlyMap<string, string>
  origin: string
  maxCharacters: number
}

export interface RenderJob {
  conversations: readonly (readonly Message[])[]
  addGenerationPrompt: boolean
  specialTokens: Readonly<Record<string, string>>
  /** A template to use instead of the model's. */
  template?: string | undefined
}

export type RenderReply = { texts: string[] } | { code: 'E_DATA' | 'E_CONFIG' | 'E_TOO_LONG'; message: string }

const { sources, origin, maxCharacters } = workerData as TemplateWorkerData
const own = new ChatTemplate(sources, origin)

function render({ conversations, addGenerationPrompt, specialTokens, template }: RenderJob): RenderReply {
  const chosen = template === undefined ? own : new ChatTemplate(new Map([['default', template]]), 'chat_template')
  const texts: string[] = []
  let characters = 0
  for (const messages of conversations) {
    const text = chosen.render(messages, { addGenerationPrompt, specialTokens })
    characters += text.length
    if (characters > maxCharacters)
      return { code: 'E_TOO_LONG', message: `the chat template wrote more than ${maxCharacters} characters` }
    texts.push(text)
  }
  return { texts }
}

function reply(job: RenderJob): RenderReply {
  try {
    return render(job)
  } catch (error) {
    const code = error instanceof PrudentError && error.code === 'E_CONFIG' ? 'E_CONFIG' : 'E_DATA'
    return { code, message: (error as Error).message.slice(0, 500) }
  }
}

parentPort?.on('message', (job: RenderJob) => parentPort?.postMessage(reply(job)))
parentPort?.postMessage('ready')
