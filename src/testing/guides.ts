import { cpSync, existsSync, mkdirSync, renameSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Glob } from 'bun'

export const root = resolve(import.meta.dir, '../..')

/** A block of code in a document. */
export interface Block {
  language: string
  /** After the language: the file that the block is. */
  title: string
  text: string
}

export async function blocksOf(path: string): Promise<Block[]> {
  const text = await Bun.file(join(root, path)).text()
  return [...text.matchAll(/^```(\w+) ?(.*)\n([\s\S]*?)^```$/gm)].map(([, language = '', title = '', body = '']) => ({
    language,
    title,
    text: body,
  }))
}

async function sectionOf(path: string, heading: string): Promise<string> {
  const text = await Bun.file(join(root, path)).text()
  return text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? ''
}

/** Cells of the table in a section, without its head. */
export async function rowsUnder(path: string, heading: string): Promise<string[][]> {
  const lines = (await sectionOf(path, heading)).split('\n').filter(line => line.startsWith('|'))
  return lines.slice(2).map(line =>
    line
      .split('|')
      .slice(1, -1)
      .map(cell => cell.trim()),
  )
}

/** Each item of the list in a section that is one sentence. */
export const sentencesUnder = async (path: string, heading: string): Promise<string[]> =>
  [...(await sectionOf(path, heading)).matchAll(/^- (.+)\.$/gm)].map(match => match[1] as string)

/** @returns whether some test has this name, or begins with it; those of the document itself do not count */
export async function testTitles(path: string): Promise<(title: string) => boolean> {
  const sources = await Promise.all([...new Glob('src/**/*.ts').scanSync(root)].map(file => Bun.file(join(root, file)).text()))
  const all = sources.filter(source => !source.includes(`const guide = '${path}'`)).join('\n')
  const spellings = (title: string) => [title, `${title.slice(0, 1).toLowerCase()}${title.slice(1)}`]
  return title => ["'", '"', '`'].some(quote => spellings(title).some(each => all.includes(`${quote}${each}`)))
}

/** A copy of the sources, so that a guide can be followed without changing them. */
export function copyOfSources(folder: string): void {
  for (const entry of ['src', 'roles', 'config', 'package.json', 'tsconfig.json', 'biome.json', 'bunfig.toml', 'bun.lock']) {
    cpSync(join(root, entry), join(folder, entry), { recursive: true })
  }
  mkdirSync(join(folder, 'bench'))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
}

/** Checks the types in a copy of the sources. What was found out about the sources in one copy is known in the next, so that only what differs is checked. */
export async function checkTypes(folder: string) {
  const known = join(root, 'dist/guides.tsbuildinfo')
  const own = join(folder, 'types.tsbuildinfo')
  if (existsSync(known)) cpSync(known, own)
  const checked = await shell('bunx tsc --noEmit --incremental --tsBuildInfoFile types.tsbuildinfo', folder)
  if (checked.code === 0) {
    // As a whole, since others may read it at the same time.
    const whole = `${known}.${process.pid}`
    mkdirSync(join(root, 'dist'), { recursive: true })
    cpSync(own, whole)
    renameSync(whole, known)
  }
  return checked
}

export async function shell(command: string, cwd: string, env: Record<string, string> = {}) {
  const child = Bun.spawn(['bash', '-ec', command], { cwd, env: { ...process.env, ...env }, stdout: 'pipe', stderr: 'pipe' })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { stdout, stderr, code }
}
