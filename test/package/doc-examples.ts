/** The `@example` blocks of the package's public names: found, checked for types, and made ready to run. */
import { join } from 'node:path'
import ts from 'typescript'
import { repository } from './project.js'

export interface Documented {
  /** `prudent/policy: trainPolicy`. */
  name: string
  /** TypeScript modules, one a block. */
  examples: string[]
}

export interface Example {
  name: string
  source: string
}

/** Options of the repository; what a user's project need not have switched on is off. */
function compilerOptions(): ts.CompilerOptions {
  const { config } = ts.readConfigFile(join(repository, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, repository)
  const { tsBuildInfoFile: _file, ...rest } = options
  return { ...rest, incremental: false, noEmit: true, noUncheckedIndexedAccess: false }
}

const FENCE = /^```ts\n([\s\S]*?)\n```$/

function examplesOf(symbol: ts.Symbol): string[] {
  const tags = symbol.getJsDocTags().filter(({ name }) => name === 'example')
  return tags.map(({ text }) => {
    const block = FENCE.exec(ts.displayPartsToString(text).trim())
    if (block === null) throw new Error(`${symbol.name}: an example is one block of TypeScript`)
    return block[1] as string
  })
}

/**
 * Every value that the entry points export, with its examples; what two of them export comes once.
 * @param entries specifier to source file
 */
export function documentedValues(entries: Readonly<Record<string, string>>): Documented[] {
  const program = ts.createProgram(Object.values(entries), compilerOptions())
  const checker = program.getTypeChecker()
  const found = new Map<ts.Symbol, Documented>()
  for (const [entry, file] of Object.entries(entries)) {
    const source = program.getSourceFile(file)
    const module = source && checker.getSymbolAtLocation(source)
    if (module === undefined) throw new Error(`${file}: no module`)
    for (const exported of checker.getExportsOfModule(module)) {
      if (exported.declarations?.some(ts.isTypeOnlyImportOrExportDeclaration)) continue
      const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
      if (!(symbol.flags & ts.SymbolFlags.Value) || found.has(symbol)) continue
      found.set(symbol, { name: `${entry}: ${exported.name}`, examples: examplesOf(symbol) })
    }
  }
  return [...found.values()]
}

/** What the compiler says against examples, as lines `NAME:LINE: message`. They import the package by its name, as users do. */
export function typeErrors(examples: readonly Example[]): string[] {
  const options = compilerOptions()
  const texts = new Map(examples.map(({ source }, at) => [join(repository, `example-${at}.ts`), source]))
  const host = ts.createCompilerHost(options)
  const { readFile, fileExists, getSourceFile } = host
  host.readFile = (file) => texts.get(file) ?? readFile(file)
  host.fileExists = (file) => texts.has(file) || fileExists(file)
  host.getSourceFile = (file, version, ...rest) => {
    const text = texts.get(file)
    return text === undefined ? getSourceFile(file, version, ...rest) : ts.createSourceFile(file, text, version, true)
  }
  const program = ts.createProgram([...texts.keys()], options, host)
  return [...texts.keys()].flatMap((file, at) => {
    const source = program.getSourceFile(file)
    const problems = [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)]
    return problems.map(({ start = 0, messageText }) => {
      const line = source === undefined ? 0 : source.getLineAndCharacterOfPosition(start).line + 1
      return `${examples[at]?.name}:${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
    })
  })
}

/** JavaScript that the oldest Node of `engines` runs. */
export function toJavaScript(source: string): string {
  return ts.transpileModule(source, { compilerOptions: { ...compilerOptions(), module: ts.ModuleKind.ESNext } })
    .outputText
}

const PRINTED = /^\s*console\.log\(.*\) \/\/ (.+)$/

/**
 * What an example says that it prints: the comment after each `console.log`.
 * @throws where one lacks it
 */
export function promises({ name, source }: Example): string[] {
  return source.split('\n').flatMap((line) => {
    if (!line.includes('console.log(')) return []
    const printed = PRINTED.exec(line)?.[1]
    if (printed === undefined)
      throw new Error(`${name}: a console.log says in a comment what it prints: ${line.trim()}`)
    return [printed]
  })
}
