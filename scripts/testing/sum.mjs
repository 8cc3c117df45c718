// Adds up what the steps of .ci/run left, prints skips and failures, and ends with the one line of totals.
import { readFileSync } from 'node:fs'
import { addUp, conclude } from './totals.mjs'

const steps = readFileSync(process.env.PRUDENT_CI_TOTALS, 'utf8').split('\n').filter(Boolean)
conclude(addUp(steps.map((line) => JSON.parse(line))))
