// What set-up tells: short lines on stderr, and coded errors (the codes are those of ts/errors.ts).

export class SetupError extends Error {
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

export function say(line) {
  process.stderr.write(`set-up: ${line}\n`)
}

/** One line that replaces itself on a terminal; elsewhere a plain line whenever `everyPercent` has passed. */
export function progressLine(label, everyPercent = 20) {
  let last = -1
  return {
    update(done, total) {
      if (process.stderr.isTTY) {
        process.stderr.write(`\rset-up: ${label} ${done}/${total}\x1b[K`)
        return
      }
      const step = Math.floor((100 * done) / total / everyPercent)
      if (step > last) {
        last = step
        say(`${label} ${done}/${total}`)
      }
    },
    end() {
      if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
    },
  }
}
