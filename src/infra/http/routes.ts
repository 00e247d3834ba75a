export interface KnownPath {
  /** `/users/:id` */
  template: string
  methods: string[]
  /** Some answer of it is a file, and not JSON. */
  givesFiles: boolean
}

/** What is asked of one of Elysia's. */
interface Route {
  method: string
  path: string
  hooks?: { detail?: Record<string, unknown> }
}

/** The route that a path belongs to and the methods it takes: for 405 and its `Allow` header (RFC 9110 §15.5.6). */
export function pathTable(routes: readonly Route[]): (path: string) => KnownPath | undefined {
  const templates = new Map<string, { pattern: RegExp; methods: Set<string>; givesFiles: boolean }>()
  for (const { method, path, hooks } of routes) {
    const entry = templates.get(path) ?? { pattern: patternOf(path), methods: new Set<string>(), givesFiles: false }
    if (hooks?.detail?.['x-gives']) entry.givesFiles = true
    entry.methods.add(method)
    // Whatever can be got can be asked about.
    if (method === 'GET') entry.methods.add('HEAD')
    templates.set(path, entry)
  }
  return path => {
    for (const [template, { pattern, methods, givesFiles }] of templates) {
      if (pattern.test(path)) return { template, methods: [...methods].sort(), givesFiles }
    }
    return undefined
  }
}

const patternOf = (template: string) => new RegExp(`^${template.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/:[^/]+/g, '[^/]+')}/?$`)
