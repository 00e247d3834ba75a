export interface KnownPath {
  /** `/users/:id` */
  template: string
  methods: string[]
}

/** The route that a path belongs to and the methods it takes: for 405 and its `Allow` header (RFC 9110 §15.5.6). */
export function pathTable(routes: readonly { method: string; path: string }[]): (path: string) => KnownPath | undefined {
  const templates = new Map<string, { pattern: RegExp; methods: Set<string> }>()
  for (const { method, path } of routes) {
    const entry = templates.get(path) ?? { pattern: patternOf(path), methods: new Set<string>() }
    entry.methods.add(method)
    // Whatever can be got can be asked about.
    if (method === 'GET') entry.methods.add('HEAD')
    templates.set(path, entry)
  }
  return path => {
    for (const [template, { pattern, methods }] of templates) {
      if (pattern.test(path)) return { template, methods: [...methods].sort() }
    }
    return undefined
  }
}

const patternOf = (template: string) => new RegExp(`^${template.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/:[^/]+/g, '[^/]+')}/?$`)
