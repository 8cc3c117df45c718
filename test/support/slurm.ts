import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { availableParallelism, hostname } from 'node:os'
import { join } from 'node:path'

const DAEMONS = ['munged', 'slurmctld', 'slurmd', 'sbatch'] as const
/** Where Debian puts daemons, which is not on everybody's PATH. */
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`

/** Why there can be no Slurm here; null where there can. */
export function whyNoSlurm(): string | null {
  const missing = DAEMONS.filter((name) => spawnSync('which', [name], { env: { PATH } }).status !== 0)
  if (missing.length > 0) return `${missing.join(', ')} missing`
  return process.getuid?.() === 0 ? null : 'slurmd starts tasks as other users and needs root'
}

/** A Slurm of one node, this machine, with keys, state and sockets in a folder of its own. */
export class OneNodeSlurm {
  readonly environment: Record<string, string>
  readonly #folder: string
  readonly #processes: ReturnType<typeof spawn>[] = []

  constructor(folder: string) {
    this.#folder = folder
    this.environment = { PATH, SLURM_CONF: join(folder, 'slurm.conf') }
  }

  async start(): Promise<void> {
    const folder = this.#folder
    for (const name of ['munge', 'state', 'spool']) mkdirSync(join(folder, name), { mode: 0o755 })
    // munged refuses a key or folder that others could write to; its socket must be reachable.
    chmodSync(folder, 0o755)
    const munge = (name: string) => join(folder, 'munge', name)
    writeFileSync(munge('key'), randomBytes(128), { mode: 0o400 })
    const [controller, node] = [await freePort(), await freePort()]
    writeFileSync(join(folder, 'slurm.conf'), configuration(folder, munge('socket'), controller, node))
    const files = ['--key-file', munge('key'), '--socket', munge('socket'), '--pid-file', munge('pid')]
    this.#spawn('munged', [
      '--foreground',
      '--force',
      ...files,
      '--seed-file',
      munge('seed'),
      '--log-file',
      munge('log'),
    ])
    this.#spawn('slurmctld', ['-D', '-i'])
    this.#spawn('slurmd', ['-D', '-N', 'here'])
    await this.#until(() => this.#run('sinfo', ['--noheader', '--format=%T']).startsWith('idle'), 'the node to be idle')
  }

  /** Number of the job. */
  submit(parameters: readonly string[]): string {
    return this.#run('sbatch', ['--parsable', ...parameters], true).trim()
  }

  /** Waits until no task of the job is left. */
  async finish(job: string): Promise<void> {
    await this.#until(() => this.#run('squeue', ['--noheader', '--job', job]).trim() === '', `job ${job} to end`)
  }

  /** Ends the daemons and waits for them: they write into the folder to their last moment. */
  async stop(): Promise<void> {
    for (const child of this.#processes.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      const impatient = setTimeout(() => child.kill('SIGKILL'), 10_000)
      await ended
      clearTimeout(impatient)
    }
  }

  #spawn(name: string, parameters: readonly string[]): void {
    this.#processes.push(spawn(name, parameters, { env: { ...process.env, ...this.environment }, stdio: 'ignore' }))
  }

  #run(name: string, parameters: readonly string[], mustSucceed = false): string {
    const options = { env: { ...process.env, ...this.environment }, encoding: 'utf8' as const }
    const { stdout, stderr, status } = spawnSync(name, parameters, options)
    if (mustSucceed && status !== 0) throw new Error(`${name} ${parameters.join(' ')}: ${stderr}`)
    return stdout
  }

  async #until(condition: () => boolean, what: string): Promise<void> {
    for (let attempt = 0; attempt < 600; attempt++) {
      if (condition()) return
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
    throw new Error(`waited too long for ${what}: ${this.#run('scontrol', ['show', 'node'])}`)
  }
}

function configuration(folder: string, socket: string, controller: number, node: number): string {
  return `ClusterName=test
SlurmctldHost=${hostname()}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=${controller}
AuthType=auth/munge
AuthInfo=socket=${socket}
StateSaveLocation=${join(folder, 'state')}
SlurmdSpoolDir=${join(folder, 'spool')}
SlurmctldPidFile=${join(folder, 'slurmctld.pid')}
SlurmdPidFile=${join(folder, 'slurmd.pid')}
SlurmctldLogFile=${join(folder, 'slurmctld.log')}
SlurmdLogFile=${join(folder, 'slurmd.log')}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
ReturnToService=2
MinJobAge=2
SchedulerParameters=sched_interval=1,batch_sched_delay=0
NodeName=here NodeHostname=${hostname()} NodeAddr=127.0.0.1 Port=${node} CPUs=${availableParallelism()} State=UNKNOWN
PartitionName=all Nodes=here Default=YES State=UP MaxTime=INFINITE
`
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
