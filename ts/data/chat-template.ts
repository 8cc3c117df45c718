import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { describe } from '../addon/rows.js'
import { argumentError, PrudentError } from '../errors.js'
import { compileTemplate } from './jinja.js'
import { isObject, type JsonObject } from './tokenizer-files.js'

/** One turn of a conversation. */
export interface Message {
  role: string
  content: string
}

/** The chat templates of a tokenizer folder; most have one, named `default`. */
export class ChatTemplate {
  readonly #sources: ReadonlyMap<string, string>
  readonly #origin: string
  readonly #compiled = new Map<string, Compiled>()

  constructor(sources: ReadonlyMap<string, string>, origin: string) {
    this.#sources = sources
    this.#origin = origin
  }

  /** Of its templates. */
  get names(): string[] {
    return [...this.#sources.keys()]
  }

  /** Name and Jinja text of every template: what another thread needs to render them. */
  get sources(): ReadonlyMap<string, string> {
    return this.#sources
  }

  /**
   * The conversation as text, BOS text included where the template writes it.
   * @throws E_CONFIG if the template does not compile or the name is unknown, E_DATA if it refuses these messages.
   */
  render(messages: readonly Message[], options: RenderOptions = {}): string {
    if (!Array.isArray(messages)) throw argumentError('E_TYPE', 'messages', 'a list of messages', describe(messages))
    const template = this.#compile(options.name ?? 'default')
    const context = {
      messages: messages.map((message) => ({ ...message })),
      add_generation_prompt: options.addGenerationPrompt ?? false,
      tools: null,
      documents: null,
      ...options.specialTokens,
    }
    try {
      return template(context)
    } catch (cause) {
      throw new PrudentError(
        'E_DATA',
        `${this.#origin}: the chat template refused the messages: ${(cause as Error).message}`,
        {
          argument: 'messages',
          cause,
        },
      )
    }
  }

  #compile(name: string): Compiled {
    const known = this.#compiled.get(name)
    if (known !== undefined) return known
    const source = this.#sources.get(name)
    if (source === undefined) {
      const received = `"${name}"`
      throw new PrudentError(
        'E_CONFIG',
        `${this.#origin}: no chat template ${received}; there is ${this.names.join(', ')}`,
        {
          argument: 'name',
          received,
        },
      )
    }
    try {
      const template = compileTemplate(source)
      this.#compiled.set(name, template)
      return template
    } catch (cause) {
      const where = name === 'default' ? '' : ` "${name}"`
      throw new PrudentError(
        'E_CONFIG',
        `${this.#origin}: chat template${where} is not valid: ${(cause as Error).message}`,
        { cause },
      )
    }
  }
}

type Compiled = ReturnType<typeof compileTemplate>

/** Which template, and how it ends. */
export interface RenderOptions {
  name?: string
  /** Open the assistant's turn at the end; off where a finished conversation is scored. */
  addGenerationPrompt?: boolean
  specialTokens?: Readonly<Record<string, string>>
}

/** chat_template.jinja and additional_chat_templates/ win over tokenizer_config.json's chat_template, as in transformers. */
export async function loadChatTemplate(folder: string, config: JsonObject): Promise<ChatTemplate | null> {
  const files = await templateFiles(folder)
  if (files.size > 0) return new ChatTemplate(files, folder)
  const declared = config.chat_template
  if (typeof declared === 'string') return new ChatTemplate(new Map([['default', declared]]), folder)
  const named = new Map<string, string>()
  const entries = Array.isArray(declared) ? declared.filter(isObject).map((entry) => [entry.name, entry.template]) : []
  const pairs = isObject(declared) ? Object.entries(declared) : entries
  for (const [name, template] of pairs) {
    if (typeof name === 'string' && typeof template === 'string') named.set(name, template)
  }
  return named.size > 0 ? new ChatTemplate(named, folder) : null
}

async function templateFiles(folder: string): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  const single = await readFile(join(folder, 'chat_template.jinja'), 'utf8').catch(() => null)
  if (single !== null) found.set('default', single)
  const extra = join(folder, 'additional_chat_templates')
  const names = await readdir(extra).catch(() => [] as string[])
  for (const name of names.filter((entry) => entry.endsWith('.jinja')).sort()) {
    found.set(basename(name, '.jinja'), await readFile(join(extra, name), 'utf8'))
  }
  return found
}
