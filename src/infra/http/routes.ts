export interface KnownPath {
  /** `/users/:id` */
  template: string
  methods: string[]
  /** Some answer of it is a file, and not JSON. */
  givesFiles: boolean
}

/** What is asked of one of Elysia's. */
export interface Route {
  method: string
  path: string
  hooks?: { detail?: Record<string, unknown> }
}

/** The route that a path belongs to and the methods it takes: for 405 and its `Allow` header (RFC 9110 §15.5.6). */
export function pathTable(routes: readonly Route[]): (path: string) => KnownPath | undefined {
  const templates = new Map<string, { pattern: RegExp; methods: Set<string>; givesFiles: boolean }>()
  for (const { method, path, hooks } of routes) {
    const entry = templates.get(path) ?? { pattern: pathPattern(path), methods: new Set<string>(), givesFiles: false }
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

/** Of a template: `/users/:id`. */
export const pathPattern = (template: string) =>
  new RegExp(`^${template.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replace(/:[^/]+/g, '[^/]+')}/?$`)

/**
 * Whether a path is certainly none for callers that nobody knows: they are refused before their body is read. Where routes are hard
 * to tell apart the answer is no, since each route asks by itself, too.
 */
export function strangersTable(routes: readonly Route[]): (method: string, path: string) => boolean {
  const byMethod = new Map<string, { openPaths: Set<string>; open: RegExp[]; closed: RegExp[] }>()
  for (const { method, path, hooks } of routes) {
    const known = byMethod.get(method) ?? { openPaths: new Set(), open: [], closed: [] }
    byMethod.set(method, known)
    const access = hooks?.detail?.['x-access'] as readonly string[] | undefined
    const isOpen = access === undefined || access.includes('everyone')
    if (isOpen) known.openPaths.add(path)
    known[isOpen ? 'open' : 'closed'].push(pathPattern(path))
  }
  return (method, path) => {
    const known = byMethod.get(method)
    if (!known || known.openPaths.has(path)) return false
    return known.closed.some(pattern => pattern.test(path)) && !known.open.some(pattern => pattern.test(path))
  }
}

/**
 * The routes that only known callers may call, as `GET /users/:id`.
 * @throws Error for a route that does not say who may: nothing would keep anybody from it
 */
export function closedRoutes(routes: readonly Route[]): string[] {
  return routes.flatMap(({ method, path, hooks }) => {
    const access = hooks?.detail?.['x-access'] as readonly string[] | undefined
    if (!access?.length) throw new Error(`the route ${method} ${path} does not say who may call it; give it \`access\``)
    return access.includes('everyone') ? [] : [`${method} ${path}`]
  })
}
