import { swagger } from '@elysiajs/swagger'
import { type AnyElysia, Elysia } from 'elysia'
import cssPath from 'swagger-ui-dist/swagger-ui.css' with { type: 'file' }
import scriptPath from 'swagger-ui-dist/swagger-ui-bundle.js' with { type: 'file' }
import { accessErrors } from '@/core/access'
import type { Controller, SuccessHeader } from '@/core/controller'
import { type Kind, kinds } from '@/core/error'
import { denied, identityOf } from '@/core/guard'
import { isOptional, type TSchema } from '@/core/schema'
import { sessionCookies } from '@/core/session-cookies'
import { Problem } from './problem'
import { type Requirement, schemesOf, securityOf } from './security-schemes'

/**
 * The documents of one HTTP server. @elysiajs/swagger collects the routes; what it gets wrong is closed here: it repeats each
 * body as form and text, leaves descriptions out that OpenAPI demands, knows nothing of our errors, and its page loads its
 * scripts from another host. So the document is completed below, and the page is our own with Swagger UI inside the executable.
 */
export interface ApiInfo {
  title: string
  version: string
  description: string
}

type Json = Record<string, unknown>
interface Operation extends Json {
  operationId?: string
  summary?: string
  description?: string
  tags?: string[]
  requestBody?: { content: Json; required?: boolean }
  parameters?: readonly { name: string; in: string }[]
  responses: Record<string, { description?: string; content?: Json; headers?: Json }>
  security?: Requirement[]
  'x-access'?: string[]
  'x-fails'?: Kind[]
  'x-gives'?: string[]
  'x-sets'?: SuccessHeader[]
  'x-secrets'?: true
  'x-limit'?: string
}
export interface OpenApiDocument extends Json {
  paths: Record<string, Record<string, Operation>>
}

/** What any operation can answer, besides what its biz throws. */
const always: readonly Kind[] = ['InvalidArgument', 'NotAcceptable', 'ResourceExhausted', 'Internal', 'Unavailable', 'Timeout']
const closed: readonly Kind[] = ['Unauthenticated', 'PermissionDenied']
/** Also where none is asked for: one that is sent is looked at. */
const withBodies: readonly Kind[] = ['TooLarge', 'UnsupportedMediaType']
const withBody: readonly Kind[] = ['Unprocessable']
const withKey: readonly Kind[] = ['Conflict', 'Aborted', 'Unprocessable']
const idempotencyKey = {
  name: 'Idempotency-Key',
  in: 'header',
  required: false,
  schema: { type: 'string', minLength: 1, maxLength: 257 },
  description:
    'Makes the request take effect once, however often it is sent: a random value of yours, such as a UUID, new for each request and the same for each attempt at it; of at least 16 characters from callers who have not logged in, since they share their keys. It stands for the request for 24 hours. An attempt after the first is answered as the first was, with `Idempotency-Replayed: true`; 409 while that is being worked on, 422 when it is not the same request.',
} as const
const successes: Record<string, string> = {
  200: 'Done.',
  201: 'Made.',
  202: 'Accepted; the work goes on.',
  204: 'Done; there is nothing to return.',
}

/**
 * The OpenAPI 3.1 document of a server's controllers.
 * @param options `takesCookies`: administrators may come with the cookies of a session, too
 */
export async function openApiDocument(
  info: ApiInfo,
  prefix: string,
  controllers: readonly Controller[],
  { takesCookies = false }: { takesCookies?: boolean | undefined } = {},
): Promise<OpenApiDocument> {
  // A second app, bound to no port: the plugin's own page and paths never reach the server.
  const app = new Elysia()
    .use(
      swagger({
        path: '/docs',
        specPath: '/docs/json',
        excludeStaticFile: false,
        documentation: { openapi: '3.1.0', info } as never,
        exclude: ['/docs', '/docs/json'],
      }),
    )
    .group(prefix, group => controllers.reduce<AnyElysia>((all, controller) => all.use(controller), group) as never)
  const response = await app.handle(new Request('http://localhost/docs/json'))
  const raw = (await response.json()) as OpenApiDocument
  for (const { method, path } of app.routes.filter(hasOptionalBody)) {
    const body = raw.paths[path.replace(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]?.requestBody
    if (body) body.required = false
  }
  return completed(raw, info, takesCookies)
}

/** The plugin says of every body that it has to be there. */
const hasOptionalBody = ({ hooks }: { hooks: { body?: unknown } }): boolean =>
  typeof hooks.body === 'object' && hooks.body !== null && isOptional(hooks.body as TSchema)

function completed(raw: OpenApiDocument, info: ApiInfo, takesCookies: boolean): OpenApiDocument {
  for (const item of Object.values(raw.paths)) {
    for (const [method, operation] of Object.entries(item)) complete(method, operation, takesCookies)
  }
  const { paths, tags } = raw
  return {
    openapi: '3.1.0',
    info,
    ...(tags ? { tags } : {}),
    paths,
    components: {
      schemas: { Problem: { ...Problem } },
      securitySchemes: schemesOf(Object.values(paths).flatMap(item => Object.values(item))),
    },
  }
}

/** The plugin hands the examples of a schema on to its parameter, where OpenAPI has a map of them. */
function illustrate(parameter: Json): void {
  const { examples, schema } = parameter
  if (!Array.isArray(examples)) return
  delete parameter['examples']
  parameter['schema'] = { ...(schema as Json), examples }
}

function complete(method: string, operation: Operation, takesCookies: boolean): void {
  const access = operation['x-access'] ?? []
  operation.security = securityOf(access, takesCookies)
  operation.description = [operation.description, `Access: ${access.join(', ')}.`].filter(Boolean).join('\n\n')
  const { requestBody } = operation
  if (requestBody) {
    const schema = requestBody.content['application/json']
    requestBody.content = { 'application/json': schema, ...(method === 'patch' && { 'application/merge-patch+json': schema }) }
  }
  for (const [status, response] of Object.entries(operation.responses)) {
    response.description ||= successes[status] ?? 'Answer.'
    for (const name of operation['x-sets'] ?? []) response.headers = { ...response.headers, [name]: successHeaders[name] }
    if (response.content) {
      const { 'application/json': content } = response.content
      response.content = Object.fromEntries((operation['x-gives'] ?? ['application/json']).map(mediaType => [mediaType, content]))
    }
    if (status === '204') delete response.content
  }
  for (const parameter of operation.parameters ?? []) illustrate(parameter)
  const takesKey = (method === 'post' || method === 'patch') && !operation['x-secrets']
  if (takesKey) operation.parameters = [...(operation.parameters ?? []), idempotencyKey]
  for (const [status, names] of failures(operation, { takesKey, isRead: method === 'get' })) {
    operation.responses[status] = {
      description: names.join(' or '),
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    }
  }
  for (const response of Object.values(operation.responses)) response.headers = { ...response.headers, ...limitHeaders }
  const refused = operation.responses['429']
  if (refused) refused.headers = { ...refused.headers, 'Retry-After': retryAfter }
  delete operation['x-limit']
  delete operation['x-fails']
  delete operation['x-gives']
  delete operation['x-sets']
  delete operation['x-secrets']
}

const limitHeaders = {
  'RateLimit-Policy': {
    description: 'The limits that the request counts against: `q` requests in `w` seconds.',
    schema: { type: 'string' },
  },
  RateLimit: { description: 'What is left of them: `r` requests, and more in `t` seconds.', schema: { type: 'string' } },
}
const successHeaders: Record<SuccessHeader, Json> = {
  ETag: {
    description:
      'The version of what is answered, for If-Match. Weak (`W/"3"`) where more is shown than that counts, such as names of others; If-Match takes it as it is.',
    schema: { type: 'string', examples: ['"3"'] },
  },
  Location: { description: 'Where what was made is.', schema: { type: 'string', format: 'uri-reference' } },
  'Content-Disposition': {
    description: 'That it is a file to be saved, and its name.',
    schema: { type: 'string', examples: ['attachment; filename="users.csv"'] },
  },
  'Set-Cookie': {
    description: `${Object.values(sessionCookies).join(' and ')}, one header each, when tokens go into cookies: Secure, HttpOnly, SameSite=Strict, Path=/.`,
    schema: { type: 'string' },
  },
}
const retryAfter = { description: 'When to try again, in seconds.', schema: { type: 'integer' } }

/** Status → names of the errors that it stands for. */
function failures(operation: Operation, { takesKey, isRead }: { takesKey: boolean; isRead: boolean }): Map<string, string[]> {
  const isOpen = operation['x-access']?.includes('everyone')
  const found = new Set<Kind>([
    ...always,
    ...(isOpen ? [] : closed),
    ...(isRead ? [] : withBodies),
    ...(operation.requestBody ? withBody : []),
    ...(operation['x-fails'] ?? []),
    ...(takesKey ? withKey : []),
  ])
  const byStatus = new Map<string, string[]>()
  for (const kind of found) {
    const status = String(kinds[kind].http)
    byStatus.set(status, [...(byStatus.get(status) ?? []), kind])
  }
  return byStatus
}

const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

/**
 * `/swagger` (the page) and `/swagger/json` (the document). Nothing on the page leaves the host.
 *
 * Where the document is closed the page is not, since a browser sends no token for a page: it says nothing of the server, and asks,
 * unless the browser has the cookie of a session, for an access token, which it sends with the document's request and with what is tried out, and keeps nowhere.
 */
export function docsRoutes(
  info: ApiInfo,
  document: () => Promise<OpenApiDocument>,
  { areClosed = false }: { areClosed?: boolean | undefined } = {},
): AnyElysia {
  // Made when it is first asked for: it costs more than the whole start of the process.
  let text: Promise<string> | undefined
  const asset = (path: string, type: string) => () =>
    new Response(Bun.file(path), { headers: { 'content-type': type, 'cache-control': 'public, max-age=3600' } })
  return new Elysia()
    .get('/swagger', () => page(info.title))
    .get('/swagger/json', async ({ request }) => {
      if (areClosed && identityOf(request).kind === 'anonymous') throw denied(request, accessErrors.Credentials())
      text ??= document().then(made => JSON.stringify(made))
      return new Response(await text, { headers: { 'content-type': 'application/json' } })
    })
    .get('/swagger/swagger-ui.css', asset(cssPath, 'text/css; charset=utf-8'))
    .get('/swagger/swagger-ui.js', asset(scriptPath, 'text/javascript; charset=utf-8'))
    .get(
      '/swagger/start.js',
      () => new Response(areClosed ? askScript : startScript, { headers: { 'content-type': 'text/javascript; charset=utf-8' } }),
    )
}

const page = (title: string) =>
  new Response(
    `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="stylesheet" href="/swagger/swagger-ui.css">
<link rel="icon" href="data:,">
<div id="swagger-ui"></div>
<script src="/swagger/swagger-ui.js"></script>
<script src="/swagger/start.js"></script>
</html>
`,
    { headers: { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': pagePolicy } },
  )

// validatorUrl null: Swagger UI would send the document to a validator on another host.
const settings = `dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null, tryItOutEnabled: false,
  displayRequestDuration: true, docExpansion: 'list', defaultModelsExpandDepth: 0`

const startScript = `SwaggerUIBundle({
  url: '/swagger/json', ${settings},
})
`

/** Asks for the access token in a form, until the document is given for one; not at all where a cookie is enough. */
const askScript = `const place = document.querySelector('#swagger-ui')
const show = (spec, token) => {
  const ui = SwaggerUIBundle({
    spec, ${settings},
    onComplete: () => token && ui.preauthorizeApiKey('accessToken', token),
  })
}
const form = document.createElement('form')
form.innerHTML = '<p><label>Access token of an administrator <input type="password" name="token" autocomplete="off" required size="40"></label> <button>Show</button></p><p role="alert"></p>'
form.addEventListener('submit', async event => {
  event.preventDefault()
  const token = form.elements.namedItem('token').value.trim()
  const alert = form.querySelector('[role=alert]')
  let answer
  try {
    answer = await fetch('/swagger/json', { headers: { authorization: 'Bearer ' + token } })
  } catch {
    alert.textContent = 'The server cannot be reached, or the token is none.'
    return
  }
  if (!answer.ok) {
    alert.textContent = (await answer.json()).detail
    return
  }
  show(await answer.json(), token)
})
// Whoever has logged in with cookies here needs no token.
fetch('/swagger/json').then(async answer => answer.ok ? show(await answer.json()) : place.append(form), () => place.append(form))
`
