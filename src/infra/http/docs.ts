import { swagger } from '@elysiajs/swagger'
import { type AnyElysia, Elysia } from 'elysia'
import cssPath from 'swagger-ui-dist/swagger-ui.css' with { type: 'file' }
import scriptPath from 'swagger-ui-dist/swagger-ui-bundle.js' with { type: 'file' }
import type { Controller } from '@/core/controller'
import { type Kind, kinds } from '@/core/error'
import { Problem } from './problem'

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
  requestBody?: { content: Json }
  parameters?: { name: string; in: string }[]
  responses: Record<string, { description?: string; content?: Json; headers?: Json }>
  'x-access'?: string[]
  'x-fails'?: Kind[]
  'x-gives'?: string[]
}
export interface OpenApiDocument extends Json {
  paths: Record<string, Record<string, Operation>>
}

/** What any operation can answer, besides what its biz throws. */
const always: readonly Kind[] = ['InvalidArgument', 'NotAcceptable', 'Internal', 'Unavailable', 'Timeout']
const withBody: readonly Kind[] = ['TooLarge', 'UnsupportedMediaType', 'Unprocessable']
const successes: Record<string, string> = {
  200: 'Done.',
  201: 'Made.',
  202: 'Accepted; the work goes on.',
  204: 'Done; there is nothing to return.',
}

/** The OpenAPI 3.1 document of a server's controllers. */
export async function openApiDocument(info: ApiInfo, prefix: string, controllers: readonly Controller[]): Promise<OpenApiDocument> {
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
  return completed(raw, info)
}

function completed(raw: OpenApiDocument, info: ApiInfo): OpenApiDocument {
  for (const item of Object.values(raw.paths)) {
    for (const [method, operation] of Object.entries(item)) complete(method, operation)
  }
  const { paths, tags } = raw
  return {
    openapi: '3.1.0',
    info,
    ...(tags ? { tags } : {}),
    paths,
    components: { schemas: { Problem: { ...Problem } } },
  }
}

function complete(method: string, operation: Operation): void {
  const access = operation['x-access'] ?? []
  // Declared but not yet asked for: saying that a token is needed would make "Try it out" lie.
  operation['security'] = []
  operation.description = [operation.description, `Access: ${access.join(', ')}.`].filter(Boolean).join('\n\n')
  const { requestBody } = operation
  if (requestBody) {
    const schema = requestBody.content['application/json']
    requestBody.content = { 'application/json': schema, ...(method === 'patch' && { 'application/merge-patch+json': schema }) }
  }
  for (const [status, response] of Object.entries(operation.responses)) {
    response.description ||= successes[status] ?? 'Answer.'
    if (response.content) {
      const { 'application/json': content } = response.content
      response.content = Object.fromEntries((operation['x-gives'] ?? ['application/json']).map(mediaType => [mediaType, content]))
    }
    if (status === '204') delete response.content
  }
  for (const [status, names] of failures(operation)) {
    operation.responses[status] = {
      description: names.join(' or '),
      content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
    }
  }
  delete operation['x-fails']
  delete operation['x-gives']
}

/** Status → names of the errors that it stands for. */
function failures(operation: Operation): Map<string, string[]> {
  const found = new Set<Kind>([...always, ...(operation.requestBody ? withBody : []), ...(operation['x-fails'] ?? [])])
  const byStatus = new Map<string, string[]>()
  for (const kind of found) {
    const status = String(kinds[kind].http)
    byStatus.set(status, [...(byStatus.get(status) ?? []), kind])
  }
  return byStatus
}

const pagePolicy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"

/** `/swagger` (the page) and `/swagger/json` (the document). Nothing on the page leaves the host. */
export function docsRoutes(info: ApiInfo, document: () => Promise<OpenApiDocument>): AnyElysia {
  // Made when it is first asked for: it costs more than the whole start of the process.
  let text: Promise<string> | undefined
  const asset = (path: string, type: string) => () =>
    new Response(Bun.file(path), { headers: { 'content-type': type, 'cache-control': 'public, max-age=3600' } })
  return new Elysia()
    .get('/swagger', () => page(info.title))
    .get('/swagger/json', async () => {
      text ??= document().then(made => JSON.stringify(made))
      return new Response(await text, { headers: { 'content-type': 'application/json' } })
    })
    .get('/swagger/swagger-ui.css', asset(cssPath, 'text/css; charset=utf-8'))
    .get('/swagger/swagger-ui.js', asset(scriptPath, 'text/javascript; charset=utf-8'))
    .get('/swagger/start.js', () => new Response(startScript, { headers: { 'content-type': 'text/javascript; charset=utf-8' } }))
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
const startScript = `SwaggerUIBundle({
  url: '/swagger/json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null, tryItOutEnabled: false,
  displayRequestDuration: true, docExpansion: 'list', defaultModelsExpandDepth: 0,
})
`
