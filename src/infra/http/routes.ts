/** Which methods a path takes: for 405 and its `Allow` header (RFC 9110 §15.5.6). */
export function methodTable(routes: readonly { method: string; path: string }[]): (path: string) => string[] {
  const templates = new Map<string, { pattern: RegExp; methods: Set<string> }>()
  for (const { method, path } of routes) {
    const entry = templates.get(path) ?? { pattern: patternOf(path), methods: new Set<string>() }
    entry.methods.add(method)
    // Whatever can be got can be asked about.
    if (method === 'GET') entry.methods.add('HEAD')
    templates.set(path, entry)
  }
  return path => {
    const found = [...templates.values()].filter(({ pattern }) => pattern.test(path))
    return [...new Set(found.flatMap(({ methods }) => [...methods]))].sort()
  }
}

const patternOf = (template: string) => new RegExp(`^${template.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/:[^/]+/g, '[^/]+')}/?$`)
