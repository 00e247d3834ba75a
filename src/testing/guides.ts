import { cpSync, mkdirSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'

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

/** A copy of the sources, so that a guide can be followed without changing them. */
export function copyOfSources(folder: string): void {
  for (const entry of ['src', 'roles', 'config', 'package.json', 'tsconfig.json', 'biome.json', 'bunfig.toml', 'bun.lock']) {
    cpSync(join(root, entry), join(folder, entry), { recursive: true })
  }
  mkdirSync(join(folder, 'bench'))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
}

export async function shell(command: string, cwd: string, env: Record<string, string> = {}) {
  const child = Bun.spawn(['bash', '-ec', command], { cwd, env: { ...process.env, ...env }, stdout: 'pipe', stderr: 'pipe' })
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  return { stdout, stderr, code }
}
