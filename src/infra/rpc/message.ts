import { create, type DescMessage, fromBinary, type Message, toBinary } from '@bufbuild/protobuf'
import { defineErrors } from '@/core/error'
import { bufferOf } from './grpc'

/** Messages as they come in, read as strictly as bodies of HTTP are, and as they go out. */

export const messageErrors = defineErrors({
  Message: ['InvalidArgument', 'The message cannot be read; see whether it was written by the .proto file that this service has.'],
  Text: ['InvalidArgument', 'The message holds text with a NUL character.'],
})

/** Text is UTF-8 here, which has no surrogates. @throws Message, Text */
export function readMessage(desc: DescMessage, bytes: Buffer): Message {
  const message = parsed(desc, bytes)
  // Databases and hashes would change such text. Most messages have no such byte, also none that means something else.
  if (bytes.includes(0)) refuseNul(message, '')
  return message
}

/** @param init as the handler of a method answers: a message, or what it is made of */
export const writeMessage = (desc: DescMessage, init: object): Buffer => bufferOf(toBinary(desc, create(desc, init as never)))

function parsed(desc: DescMessage, bytes: Buffer): Message {
  try {
    return fromBinary(desc, bytes, { readUnknownFields: false })
  } catch (cause) {
    throw messageErrors.Message({ cause })
  }
}

/** A message nests no deeper than its reader lets it. */
function refuseNul(value: unknown, pointer: string): void {
  if (typeof value === 'string' && value.includes('\0'))
    throw messageErrors.Text({ problems: [{ pointer, detail: 'must not have NUL characters' }] })
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return
  // Keys of maps are text of the caller, too.
  for (const [name, inner] of Object.entries(value)) {
    refuseNul(name, pointer)
    refuseNul(inner, `${pointer}/${name}`)
  }
}
