type OptionValue = string | number | readonly string[] | undefined

/**
 * What a person types to get the same once more; options without a value are left out, a list repeats its option. Summaries hold it without
 * their own folder: the same result is the same file wherever it stands, and the report knows where that is.
 */
export function commandLine(command: string, options: Readonly<Record<string, OptionValue>>): string {
  const words = Object.entries(options).flatMap(([name, value]) => {
    const values = value === undefined ? [] : typeof value === 'object' ? value : [String(value)]
    return values.flatMap((one) => [`--${name}`, one])
  })
  return typedCommand([...command.split(' '), ...words])
}

/** The command that a POSIX shell makes of these parameters again. */
export const typedCommand = (parameters: readonly string[]): string =>
  ['npx', 'prudent', ...parameters.map(quoted)].join(' ')

/** As a shell reads it back. */
function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** undefined where the value is what the option is without being named. */
export const unless = <T>(usual: T, value: T): T | undefined => (value === usual ? undefined : value)
