import { connect } from 'node:http2'

/** What a server of gRPC says to frames that no client library makes. */
export interface RawHttp2Answer {
  /** Of HTTP; 0 when the stream was cut off without one. */
  status: number
  /** `grpc-status`, in the head or at the end. */
  grpcStatus: string | undefined
  message: string | undefined
  /** Messages that came, and what is left of one. */
  bytes: number
  /** It has not ended in time. */
  isOpen: boolean
}

export interface RawHttp2Call {
  path: string
  headers?: Readonly<Record<string, string>>
  body?: Uint8Array
  /** The stream is reset so soon after it began. */
  resetAfterMs?: number
}

/** One connection for all of them, in their order; each is waited for so long. */
export async function rawHttp2(address: string, calls: readonly RawHttp2Call[], limitMs = 2500): Promise<RawHttp2Answer[]> {
  const session = connect(`http://${address}`)
  session.on('error', () => {})
  const answers: RawHttp2Answer[] = []
  for (const call of calls) answers.push(await one(session, call, limitMs))
  session.destroy()
  return answers
}

function one(session: ReturnType<typeof connect>, { path, headers = {}, body, resetAfterMs }: RawHttp2Call, limitMs: number) {
  const { promise, resolve } = Promise.withResolvers<RawHttp2Answer>()
  const answer: RawHttp2Answer = { status: 0, grpcStatus: undefined, message: undefined, bytes: 0, isOpen: false }
  const read = (said: Record<string, unknown>) => {
    if (said[':status'] !== undefined) answer.status = Number(said[':status'])
    if (said['grpc-status'] !== undefined) answer.grpcStatus = String(said['grpc-status'])
    if (said['grpc-message'] !== undefined) answer.message = String(said['grpc-message'])
  }
  const all = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers }
  const stream = session.request(Object.fromEntries(Object.entries(all).filter(([, value]) => value !== '-')))
  const timer = setTimeout(() => {
    resolve({ ...answer, isOpen: true })
    stream.close(8)
  }, limitMs)
  stream.on('response', read)
  stream.on('trailers', read)
  stream.on('error', () => {})
  stream.on('close', () => {
    clearTimeout(timer)
    resolve(answer)
  })
  stream.on('data', (chunk: Buffer) => {
    answer.bytes += chunk.length
  })
  if (body) stream.end(Buffer.from(body))
  else stream.end()
  if (resetAfterMs !== undefined) setTimeout(() => stream.close(8), resetAfterMs)
  return promise
}

/** A message as it is framed: a flag, its length, its bytes. @param length another one than it has */
export function framed(message: Uint8Array, { flag = 0, length = message.length } = {}): Uint8Array {
  const head = Buffer.alloc(5)
  head.writeUInt8(flag, 0)
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, message])
}
