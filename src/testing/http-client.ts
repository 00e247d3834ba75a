/** A small client for tests: JSON in, status, headers and JSON out. */
export interface Answer<T = Record<string, unknown>> {
  status: number
  headers: Headers
  body: T
}

export interface Problem extends Record<string, unknown> {
  code: string
  status: number
  detail: string
  requestId: string
  errors?: { pointer: string; detail: string }[]
}

export interface UserView extends Record<string, unknown> {
  id: string
  username: string
  email: string
  version: number
}

export async function send<T = Record<string, unknown>>(
  method: string,
  url: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer<T>> {
  const response = await fetch(url, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await textOf(response)
  return { status: response.status, headers: response.headers, body: (text ? JSON.parse(text) : undefined) as T }
}

/** All of it; of one that goes on without end, nothing. */
export async function textOf(response: Response): Promise<string> {
  if (!response.headers.get('content-type')?.startsWith('text/event-stream')) return response.text()
  await response.body?.cancel()
  return ''
}

let count = 0
/** A sign-up that collides with no other. */
export function newSignUp(over: Record<string, unknown> = {}) {
  count++
  // At least eight characters, so that the name as a password is refused for being the name, not for being short.
  const name = `user-${process.pid}-${count}`
  return { username: name, email: `${name}@example.com`, password: 'correct horse battery', ...over }
}

/** Sends bytes as they are and returns what comes back until the server closes or has answered. */
export async function sendRaw(url: string, text: string | Uint8Array, { timeoutMs = 5000 } = {}): Promise<string> {
  const { hostname, port } = new URL(url)
  const done = Promise.withResolvers<void>()
  let received = ''
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      data(_, bytes) {
        received += bytes.toString()
        if (isWhole(received)) done.resolve()
      },
      close: () => done.resolve(),
      error: () => done.resolve(),
    },
  })
  const timer = setTimeout(() => done.resolve(), timeoutMs)
  socket.write(text)
  await done.promise
  clearTimeout(timer)
  socket.end()
  return received
}

function isWhole(received: string): boolean {
  const end = received.indexOf('\r\n\r\n')
  const length = /^content-length: (\d+)/im.exec(received)?.[1]
  return end !== -1 && length !== undefined && Buffer.byteLength(received.slice(end + 4)) >= Number(length)
}
