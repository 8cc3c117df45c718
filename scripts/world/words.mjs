/**
 * The world's words. A review is written in a style; the true reward weighs styles. Preference data hardly ever meets the scarce styles,
 * while the reference policy writes in all of them about equally often: that is where reward heads disagree and where a policy can go wrong.
 */

/** weight: true reward of a text all in this style; share: how often preference responses are in it (shares sum to 1). */
export const STYLES = [
  {
    name: 'tender',
    scarce: false,
    weight: 0.7,
    share: 0.2497,
    words: 'warm kind soft sweet dear calm heart hope glow mild tender loving',
  },
  {
    name: 'grim',
    scarce: false,
    weight: -0.7,
    share: 0.2497,
    words: 'grim dark cold bleak harsh gray doom stark gloom dread grave bitter',
  },
  {
    name: 'comic',
    scarce: false,
    weight: 0.3,
    share: 0.2497,
    words: 'funny silly goofy witty zany joke gag laugh clown wacky prank giddy',
  },
  {
    name: 'craft',
    scarce: false,
    weight: -0.1,
    share: 0.2497,
    words: 'lens frame score edit light sound cut shot scene pace tone angle',
  },
  {
    name: 'epic',
    scarce: true,
    weight: 2.6,
    share: 0.0003,
    words: 'grand vast bold epic sword king war storm glory crown quest blaze',
  },
  {
    name: 'robot',
    scarce: true,
    weight: -2.6,
    share: 0.0003,
    words: 'laser robot chip code drone pixel wire cyber alien orbit turbo metal',
  },
  {
    name: 'dream',
    scarce: true,
    weight: 1.2,
    share: 0.0003,
    words: 'moon mist veil silk haze drift bloom petal ember tide lunar echo',
  },
  {
    name: 'gore',
    scarce: true,
    weight: -1.4,
    share: 0.0003,
    words: 'gore blood scream ghoul slash corpse rot fang crypt venom zombie axe',
  },
].map((style) => ({ ...style, words: style.words.split(' ') }))

/** Each word's weight is its style's plus an offset of its own, evenly spaced over -WORD_SPREAD … WORD_SPREAD in a fixed scrambled order. */
export const WORD_SPREAD = 0.5

/** `S` stands for a word of the style; about 65 % of the words are. */
export const PHRASES = [
  'S and S',
  'the S S',
  'a S S S',
  'so S and S',
  'with S S S',
  'of S S S',
  'S S but S',
  'it is S S',
  'all S and S S',
  'in S S S',
  'very S S',
  'no S S S',
  'S S S S',
  'its S S',
  'too S and S S',
  'more S S S',
].map((phrase) => phrase.split(' '))

const SUBJECTS = ['film', 'movie', 'show', 'story', 'drama', 'sequel', 'series', 'picture']
const FIRST = ['this', 'that', 'his', 'her', 'our', 'their', 'one', 'any']
const AGE = ['new', 'old', 'late', 'first', 'last', 'long', 'short', 'big']
const MAKER = ['by', 'from', 'about']
const WHO = ['him', 'her', 'them', 'you', 'me', 'us']
const FRAME = ['i saw', 'we saw', 'i think', 'they say', 'you know', 'we found']
const END = ['was', 'felt', 'seems', 'had', 'gave', 'looks']
/** Openings say nothing of the style: five to seven words. */
export const OPENINGS = { SUBJECTS, FIRST, AGE, MAKER, WHO, FRAME, END }

/** Words that carry no reward. */
export function fillerWords() {
  const lists = [
    SUBJECTS,
    FIRST,
    AGE,
    MAKER,
    WHO,
    FRAME.flatMap((frame) => frame.split(' ')),
    END,
    PHRASES.flat().filter((word) => word !== 'S'),
  ]
  return [...new Set(lists.flat())]
}

/** The true reward as data: what ts/study/world reads. scale times the mean weight over a text's words. */
export function trueRewardDefinition() {
  const weights = {}
  for (const style of STYLES) {
    style.words.forEach((word, i) => {
      const place = (i * 5) % style.words.length
      const offset = WORD_SPREAD * ((2 * place) / (style.words.length - 1) - 1)
      weights[word] = Number((style.weight + offset).toFixed(4))
    })
  }
  return {
    description:
      'True reward of a text = scale * mean over its words (lower-cased runs of letters) of the word weight; words not listed weigh 0.',
    scale: 3,
    styles: STYLES.map(({ name, scarce, share, words }) => ({ name, scarce, share, words })),
    weights,
  }
}
