/** Reviews, prompts and responses of the world. */
import { OPENINGS, PHRASES, STYLES } from './words.mjs'

/** Five to seven words that say nothing of the style. */
export function drawOpening(random) {
  const { SUBJECTS, FIRST, AGE, MAKER, WHO, FRAME, END } = OPENINGS
  const words = random.uniform() < 0.5 ? random.pick(FRAME).split(' ') : []
  words.push(random.pick(FIRST))
  if (words.length === 1 || random.uniform() < 0.5) words.push(random.pick(AGE))
  words.push(random.pick(SUBJECTS))
  if (words.length < 4 || random.uniform() < 0.3) words.push(random.pick(MAKER), random.pick(WHO))
  if (words.length < 7) words.push(random.pick(END))
  return words
}

/** `count` words in one style. */
export function drawStyled(random, style, count) {
  const words = []
  while (words.length < count) {
    words.push(...random.pick(PHRASES).map((slot) => (slot === 'S' ? random.pick(STYLES[style].words) : slot)))
  }
  return words.slice(0, count)
}

export const drawUniformStyle = (random) => random.integer(STYLES.length)
export const drawPreferenceStyle = (random) => random.weighted(STYLES.map((style) => style.share))

/** An opening, then sentences; the style seldom changes from one to the next. */
export function drawReview(random, sentences = 5) {
  let style = drawUniformStyle(random)
  const texts = []
  for (let i = 0; i < sentences; i += 1) {
    if (i > 0 && random.uniform() < 0.15) style = drawUniformStyle(random)
    const body = drawStyled(random, style, 7 + random.integer(5))
    texts.push([...(i === 0 ? drawOpening(random) : []), ...body].join(' '))
  }
  return `${texts.join('. ')}.`
}

/** What a policy sees and writes: the first two to seven words of a review, and ten more. */
export function drawExchange(random, drawStyle) {
  const opening = drawOpening(random)
  const promptLength = Math.min(2 + random.integer(6), opening.length)
  const prompt = opening.slice(0, promptLength).join(' ')
  const respond = () => {
    const style = drawStyle(random)
    const rest = opening.slice(promptLength)
    return { style, text: [...rest, ...drawStyled(random, style, 10 - rest.length)].join(' ') }
  }
  return { prompt, respond }
}
