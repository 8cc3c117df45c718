/** The process that renders chat templates: whatever a template does, it does it here, and is killed from outside when it takes too long. */
import { ChatTemplate, type Message } from '../data/chat-template.js'
import { PrudentError } from '../errors.js'

export interface TemplateWorkerSetup {
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

interface Renderer {
  own: ChatTemplate
  maxCharacters: number
}

function render(
  { own, maxCharacters }: Renderer,
  { conversations, addGenerationPrompt, specialTokens, template }: RenderJob,
): RenderReply {
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

function reply(renderer: Renderer, job: RenderJob): RenderReply {
  try {
    return render(renderer, job)
  } catch (error) {
    const code = error instanceof PrudentError && error.code === 'E_CONFIG' ? 'E_CONFIG' : 'E_DATA'
    return { code, message: (error as Error).message.slice(0, 500) }
  }
}

// The first message says what to render with, every other one is a job; when the parent goes, so does the channel and this process.
let renderer: Renderer | null = null
process.on('message', (message: TemplateWorkerSetup | RenderJob) => {
  if (renderer === null) {
    const { sources, origin, maxCharacters } = message as TemplateWorkerSetup
    renderer = { own: new ChatTemplate(sources, origin), maxCharacters }
    process.send?.('ready')
  } else process.send?.(reply(renderer, message as RenderJob))
})
