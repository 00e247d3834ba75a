import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { mysqlRoot } from './installations'

/** What the tests need on the machine besides Bun, and how Debian calls it. */
const programs: { program: string; package: string; for: string }[] = [
  { program: 'mariadbd', package: 'mariadb-server', for: 'the suites on MariaDB' },
  { program: 'redis-server', package: 'redis-server', for: 'the suites on Redis' },
  { program: 'chromium', package: 'chromium', for: 'Swagger in a browser' },
  { program: 'nginx', package: 'nginx-light', for: 'the gateway' },
  { program: 'faketime', package: 'faketime', for: 'the clocks that jump' },
  { program: 'debootstrap', package: 'debootstrap', for: 'the real MySQL' },
]

/** Everything that is still missing afterwards, as sentences; empty when all is there. */
export async function provision(): Promise<string[]> {
  const missing = programs.filter(({ program }) => !Bun.which(program))
  const mayInstall = process.getuid?.() === 0 && Bun.which('apt-get') !== null
  if (missing.length > 0 && mayInstall) {
    const names = missing.map(entry => entry.package)
    console.error(`test: installing ${names.join(', ')} with apt-get`)
    await run(['apt-get', 'update', '-qq'])
    await run(['apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...names])
  }
  if (!existsSync(mysqlRoot) && mayInstall && Bun.which('debootstrap')) await installMysql()
  const lacking = programs.filter(({ program }) => !Bun.which(program)).map(entry => `${entry.program} (${entry.for})`)
  return existsSync(mysqlRoot) ? lacking : [...lacking, 'MySQL (the suites on MySQL)']
}

/**
 * Debian's stable release has MariaDB but no MySQL; its unstable one has. Its packages go into a folder of their own, from the
 * mirror that the machine uses, and the server is run inside.
 */
async function installMysql(): Promise<void> {
  console.error('test: installing MySQL into a folder of its own; this takes a minute, once')
  const half = `${mysqlRoot}.${process.pid}`
  mkdirSync(dirname(mysqlRoot), { recursive: true })
  try {
    await run(['debootstrap', '--variant=minbase', '--no-check-gpg', '--include=mysql-server-core', 'sid', half, await debianMirror()])
    renameSync(half, mysqlRoot)
  } catch (thrown) {
    console.error(`test: ${(thrown as Error).message}`)
    rmSync(half, { recursive: true, force: true })
  }
}

async function debianMirror(): Promise<string> {
  const list = Bun.spawn(['apt-get', 'indextargets', 'Origin: Debian', '--format', '$(REPO_URI)'], { stdout: 'pipe' })
  const uris = (await list.stdout.text()).split('\n').filter(uri => uri && !uri.includes('security'))
  const [uri] = uris
  if (!uri) throw new Error('apt knows no Debian mirror; run apt-get update')
  return uri
}

async function run(command: string[]): Promise<void> {
  const child = Bun.spawn(command, { stdout: 'ignore', stderr: 'pipe', env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } })
  const [complaint, code] = await Promise.all([child.stderr.text(), child.exited])
  if (code !== 0) throw new Error(`${command.join(' ')} failed with ${code}: ${complaint.slice(-2000)}`)
}
