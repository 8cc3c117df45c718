import type { ChildProcess } from 'node:child_process'
import { describe, expect, jest, test } from '@jest/globals'
import { runCommand } from '../support/run-command.js'
import { ENSEMBLE, type ListAnswer } from './apps.js'

jest.setTimeout(120_000)

interface Running {
  url: string
  child: ChildProcess
  ended: ReturnType<typeof runCommand>
}

/** `prudent serve` on a free port, once it says where. */
async function serve(parameters: string[] = [], environment: Record<string, string> = {}): Promise<Running> {
  return new Promise((resolve, reject) => {
    const all = ['serve', '--model', ENSEMBLE, '--port', '0', ...parameters]
    const ended = runCommand(all, {
      environment,
      started(child) {
        let said = ''
        child.stderr?.on('data', (text: string) => {
          said += text
          const [, url] = / on (http:\S+)\n/.exec(said) ?? []
          if (url !== undefined) resolve({ url, child, ended })
        })
      },
    })
    void ended.then(({ stderr }) => reject(new Error(stderr)))
  })
}

const JSON_TYPE = { 'content-type': 'application/json' }
const ask = (url: string, body: object, headers: Record<string, string> = {}) =>
  fetch(url, { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify(body) })

describe('prudent serve', () => {
  test('answers, asks for the key of --api-key-env, and ends with 0 on SIGTERM after the last answer', async () => {
    const { url, child, ended } = await serve(['--api-key-env', 'TEST_KEY', '--max-wait-ms', '400'], { TEST_KEY: 'k' })
    expect((await fetch(`${url}/health`)).status).toBe(200)
    expect((await ask(`${url}/score`, { prompt: 'a', response: 'b' })).status).toBe(401)
    // It waits for others to share its forward, so that the signal comes while it is at work.
    const atWork = ask(`${url}/score`, { prompt: 'a', response: ['b', 'c'] }, { authorization: 'Bearer k' })
    const metrics = async () => (await fetch(`${url}/metrics`, { headers: { authorization: 'Bearer k' } })).text()
    while (!/prudent_requests_in_flight 1/.test(await metrics())) await new Promise((resolve) => setTimeout(resolve, 5))
    child.kill('SIGTERM')
    const answer = await atWork
    expect(answer.status).toBe(200)
    expect(((await answer.json()) as ListAnswer).data).toHaveLength(2)
    const { code, stderr, stdout } = await ended
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' })
    expect(stderr).toMatch(/all requests are answered/)
  })

  test.each([
    ['a key that is not there', ['--api-key-env', 'NO_SUCH_VARIABLE'], 2, /E_CONFIG.*NO_SUCH_VARIABLE/],
    ['a key with the line break of its file', ['--api-key-env', 'BROKEN_KEY'], 2, /E_CONFIG.*BROKEN_KEY.*U\+000A/],
    ['a port that is none', ['--port', '70000'], 2, /E_USAGE.*0 to 65535/],
    ['an address that is none', ['--host', ''], 2, /E_USAGE.*Expected an address/],
    ['a limit that is none', ['--max-items', '0'], 2, /E_USAGE/],
    ['an address that is not ours', ['--host', '203.0.113.1'], 1, /E_IO.*cannot listen on 203\.0\.113\.1/],
  ])('says what is wrong with %s', async (_name, parameters, code, said) => {
    const environment = { BROKEN_KEY: 'key\n' }
    const result = await runCommand(['serve', '--model', ENSEMBLE, '--port', '0', ...parameters], { environment })
    expect(result.stderr).toMatch(said)
    expect(result.code).toBe(code)
  })
})
