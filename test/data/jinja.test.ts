import { describe, expect, test } from '@jest/globals'
import { ChatTemplate } from '../../ts/data/chat-template.js'
import { strftime } from '../../ts/data/jinja.js'

const MESSAGES = [
  { role: 'system', content: 's' },
  { role: 'user', content: '  \n q\n ' },
  { role: 'assistant', content: '\n\n  a  \n' },
  { role: 'user', content: 'bye' },
]

function render(source: string): string {
  return new ChatTemplate(new Map([['default', source]]), 'test').render(MESSAGES)
}

/** Name, template, what jinja2 3.1 writes with transformers' settings. */
const CASES: [string, string, string][] = [
  [
    'continue after text',
    "{% for m in messages %}<{{ m.role }}>{% if m.role == 'user' %}u{% continue %}{% endif %}{{ loop.index }}{% endfor %}",
    '<system>1<user>u<assistant>3<user>u',
  ],
  [
    'break after text',
    '{% for m in messages %}<{{ m.role }}>{% if loop.index == 2 %}!{% break %}{% endif %};{% endfor %}.',
    '<system>;<user>!.',
  ],
  [
    'both, in elif and else',
    "{% for m in messages %}[{% if m.role == 'system' %}{% set x = 'S' %}{% elif m.role == 'user' %}U{% continue %}{% else %}A{% if loop.index > 2 %}{% break %}{% endif %}{% endif %}{{ x }}]{% endfor %}",
    '[S][U[A',
  ],
  [
    'a loop in a loop',
    "{% for m in messages %}{% for k in [1, 2, 3] %}{{ k }}{% if k == 2 %}{% break %}{% endif %},{% endfor %}/{% if m.role == 'assistant' %}{% break %}{% endif %}{% endfor %}",
    '1,2/1,2/1,2/',
  ],
  [
    'strip with characters',
    "{% for m in messages %}({{ m.content.strip('\\n') }}|{{ m.content.lstrip('\\n') }}|{{ m.content.rstrip('\\n ') }}|{{ m.content.strip() }}|{{ 'é🎉é'.strip('é') }}|{{ m.content.strip(none) }}){% endfor %}",
    '(s|s|s|s|🎉|s)(  \n q\n |  \n q\n |  \n q|q|🎉|q)(  a  |  a  \n|\n\n  a|a|🎉|a)(bye|bye|bye|bye|🎉|bye)',
  ],
  [
    'line ends of Windows',
    '{% for m in messages %}\r\n  {{ m.role }}\r\n{% endfor %}\r\nend\r\n',
    '  system\n  user\n  assistant\n  user\nend',
  ],
]

describe('templates as jinja2 renders them', () => {
  test.each(CASES)('%s', (_name, source, expected) => expect(render(source)).toBe(expected))

  test("strftime_now is Python's, in English", () => {
    const date = new Date(2026, 2, 5, 15, 4, 9)
    expect(strftime(date, '%d %b %Y, %A %a %B %-d %j %y-%m %H:%M:%S %-I %p 100%%')).toBe(
      '05 Mar 2026, Thursday Thu March 5 064 26-03 15:04:09 3 PM 100%',
    )
    const before = strftime(new Date(), '%A %-d')
    expect([before, strftime(new Date(), '%A %-d')]).toContain(render("{{ strftime_now('%A %-d') }}"))
    expect(() => render("{{ strftime_now('%Q') }}")).toThrow('strftime_now: %Q is not known')
    expect(render('{{ strftime_now is defined }}')).toBe('true')
  })
})
