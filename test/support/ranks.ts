import type { ChildProcess } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { toYaml } from '../../ts/config/yaml-writer.js'
import { type CommandResult, runCommand } from './run-command.js'
import type { TrainRun } from './train-runs.js'

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise<void>((resolve) => server.close(() => resolve()))
  return port
}

/** What torchrun would tell rank `rank` of `size` on one machine. */
export function rankEnvironment(rank: number, size: number, port: number): Record<string, string> {
  return {
    ...{ RANK: `${rank}`, WORLD_SIZE: `${size}`, LOCAL_RANK: `${rank}`, LOCAL_WORLD_SIZE: `${size}` },
    ...{ MASTER_ADDR: '127.0.0.1', MASTER_PORT: `${port}`, PRUDENT_DISTRIBUTED_TIMEOUT: '60' },
  }
}

/** `prudent train` on several ranks of this machine, each a process, as a launcher would start them. */
export async function trainOnRanks(
  run: TrainRun,
  size: number,
  started?: (children: ChildProcess[]) => void,
): Promise<CommandResult[]> {
  const config = `${run.folder}.yaml`
  await writeFile(config, toYaml(run.config))
  const port = await freePort()
  const parameters = ['train', run.kind, '--config', config, '--output', run.folder, ...(run.more ?? [])]
  const children: ChildProcess[] = []
  const results = Array.from({ length: size }, (_, rank) =>
    runCommand(parameters, {
      environment: rankEnvironment(rank, size, port),
      started: (child) => {
        child.stdin?.end()
        children.push(child)
      },
    }),
  )
  started?.(children)
  return Promise.all(results)
}
