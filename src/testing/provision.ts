import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { inRoot, isInRoot, unstableRoot } from './installations'

/** What the tests need on the machine besides Bun, and how Debian calls it. */
const programs: { program: string; package: string; for: string }[] = [
  { program: 'mariadbd', package: 'mariadb-server', for: 'the suites on MariaDB' },
  { program: 'redis-server', package: 'redis-server', for: 'the suites on Redis' },
  { program: 'chromium', package: 'chromium', for: 'Swagger in a browser' },
  { program: 'nginx', package: 'nginx-light', for: 'the gateway' },
  { program: 'faketime', package: 'faketime', for: 'the clocks that jump' },
  { program: 'debootstrap', package: 'debootstrap', for: 'the real MySQL, Redis 8 and Valkey' },
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
  if (mayInstall && Bun.which('debootstrap')) await installUnstable()
  const lacking = programs.filter(({ program }) => !Bun.which(program)).map(entry => `${entry.program} (${entry.for})`)
  return [...lacking, ...missingInRoot().map(([name]) => `${name} (the suites on it)`)]
}

const missingInRoot = () => Object.entries(inRoot).filter(([, { program }]) => !isInRoot(program))

/**
 * Debian's stable release has MariaDB and Redis 7; its unstable one has MySQL, Redis 8 and Valkey. Its packages go into a folder of
 * their own, from the mirror that the machine uses, and the servers are run inside.
 */
async function installUnstable(): Promise<void> {
  try {
    if (!existsSync(unstableRoot)) await makeRoot()
    const names = missingInRoot().map(([, entry]) => entry.package)
    if (names.length > 0) await addToRoot(names)
  } catch (thrown) {
    console.error(`test: ${(thrown as Error).message}`)
  }
}

async function makeRoot(): Promise<void> {
  console.error('test: installing MySQL into a folder of its own; this takes a minute, once')
  const half = `${unstableRoot}.${process.pid}`
  mkdirSync(dirname(unstableRoot), { recursive: true })
  try {
    await run([
      'debootstrap',
      '--variant=minbase',
      '--no-check-gpg',
      `--include=${inRoot.mysql.package}`,
      'sid',
      half,
      await debianMirror(),
    ])
    renameSync(half, unstableRoot)
  } catch (thrown) {
    rmSync(half, { recursive: true, force: true })
    throw thrown
  }
}

/** Unpacked, not set up: the servers need nothing of that, and it would start them. */
async function addToRoot(names: readonly string[]): Promise<void> {
  console.error(`test: adding ${names.join(', ')} to it`)
  const archives = '/var/cache/bingo-archives'
  // A mirror of some weeks ago is as good.
  const options = `-qq -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false -o Dir::Cache::archives=${archives}`
  const script = `
mkdir -p ${archives}/partial
apt-get ${options} update
apt-get ${options} install -y --no-install-recommends --download-only ${names.join(' ')}
for each in ${archives}/*.deb; do dpkg-deb -x "$each" /; done
rm -rf ${archives}`
  await run(['chroot', unstableRoot, 'sh', '-ec', script])
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
