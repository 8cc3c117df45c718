import { ERROR_CODES } from './errors.js'

/** docs/errors.md; scripts/make-error-docs.mjs writes it and a test holds it current. */
export function errorDocs(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`)
  return [
    '<!-- Made by scripts/make-error-docs.mjs from ts/errors.ts; edit there. -->',
    '# Errors',
    '',
    'Every failure is a `PrudentError` with a stable `code`. Its `message` is for people; `argument`, `expected` and `received` say',
    'which argument, key or row is meant, what was expected there and what came; `cause` is the error underneath, where there is one.',
    "Cancelled calls have the code `E_CANCELLED` and the name `AbortError`, and the signal's reason as `cause`.",
    '',
    '```ts',
    "import { PrudentError } from 'prudent/errors'",
    '',
    'try {',
    '  await model.score(rows)',
    '} catch (error) {',
    "  if (error.code === 'E_TOO_LONG') console.error(error.argument, error.expected, error.received)",
    '}',
    '```',
    '',
    'Commands print `error CODE: message` on standard error and exit with 2 for `E_USAGE` and `E_CONFIG`, with 1 for all others;',
    'after a clean stop by SIGINT or SIGTERM they exit with 130 or 143. `PRUDENT_DEBUG=1` adds stack traces and causes.',
    '',
    '| code | meaning |',
    '|---|---|',
    ...rows,
    '',
  ].join('\n')
}
