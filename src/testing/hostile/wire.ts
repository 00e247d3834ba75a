import type { DescField, DescMessage } from '@bufbuild/protobuf'
import type { Random } from './random'
import { texts } from './values'

/**
 * Bytes for methods of gRPC: messages of the right form with hostile values, messages of the wrong form, and what is no message at all.
 * They are written by hand, since generated code refuses most of it.
 */

/** What is known of that may be asked for. */
export interface WireTargets {
  ids: readonly string[]
}

/** Wire types of protobuf. */
const [varintType, fixed64Type, bytesType, startGroup, endGroup, fixed32Type] = [0, 1, 2, 3, 4, 5]
const longBytes = 200_000
const manyMax = 2000
const depth = 5000
/** As much as a server takes: what is refused for its size tells nothing of the rest. */
const bytesMax = 1_000_000

export const hostileBytes = (random: Random, message: DescMessage, targets: WireTargets): Uint8Array =>
  anyBytes(random, message, targets).slice(0, bytesMax)

function anyBytes(random: Random, message: DescMessage, targets: WireTargets): Uint8Array {
  const kind = random.below(12)
  // Most come as far as the method.
  if (kind < 6) return messageBytes(random, message, targets, 0)
  const valid = messageBytes(random, message, targets, 0)
  if (kind === 6) return noise(random, random.of([0, 1, 2, 7, 100, 5000]))
  if (kind === 7) return valid.slice(0, random.below(valid.length + 1))
  if (kind === 8) return flipped(random, valid)
  if (kind === 9) return concat(Array.from({ length: random.below(20) }, () => messageBytes(random, message, targets, 0)))
  if (kind === 10) return random.chance(0.5) ? groups() : nested(message)
  return concat([tag(random.of([0, 1, 2, 15, 536_870_911]), random.of([0, 1, 2, 3, 4, 5, 6, 7])), noise(random, random.below(40))])
}

function messageBytes(random: Random, { fields }: DescMessage, targets: WireTargets, level: number): Uint8Array {
  const parts: Uint8Array[] = []
  for (const field of fields) {
    if (random.chance(0.3)) continue
    const times = field.fieldKind === 'list' ? random.of([0, 1, 2, 99, 100, 101, manyMax]) : random.chance(0.1) ? 3 : 1
    for (let i = 0; i < times; i++) parts.push(fieldBytes(random, field, targets, level))
  }
  // A field that nobody knows is to be skipped.
  if (random.chance(0.2)) parts.push(tag(1000 + random.below(1000), bytesType), delimited(noise(random, random.below(100))))
  return concat(parts)
}

function fieldBytes(random: Random, field: DescField, targets: WireTargets, level: number): Uint8Array {
  if (random.chance(0.05)) return concat([tag(field.number, random.below(8)), noise(random, random.below(20))])
  if (field.message && level < 3)
    return concat([tag(field.number, bytesType), delimited(messageBytes(random, field.message, targets, level + 1))])
  if (field.enum || (field.scalar !== undefined && field.scalar !== stringType && field.scalar !== rawType))
    return concat([tag(field.number, varintType), varint(random.of([0n, 1n, 2n, 3n, 99n, 2n ** 31n, 2n ** 32n, 2n ** 64n - 1n]))])
  return concat([tag(field.number, bytesType), delimited(textBytes(random, targets))])
}

/** Of ScalarType. */
const [stringType, rawType] = [9, 12]

function textBytes(random: Random, { ids }: WireTargets): Uint8Array {
  const kind = random.below(10)
  if (kind < 4) return Buffer.from(random.of(ids))
  if (kind < 8) return Buffer.from(random.of(texts))
  if (kind === 8) return new Uint8Array(random.of([0, 1, 64, 65, random.chance(0.02) ? longBytes : 66])).fill(0x61)
  // No UTF-8: half a letter, half a surrogate pair, an overlong slash.
  return Uint8Array.from(random.of([[0xff], [0xc3], [0xed, 0xa0, 0x80], [0xc0, 0xaf], [0xf8, 0x88, 0x80, 0x80, 0x80], [0]]))
}

/** Groups in groups, of a field that nobody knows. */
const groups = () => concat([...repeated(depth, tag(100, startGroup)), ...repeated(depth, tag(100, endGroup))])

/** A message in a message as deep as it goes, where there is one to begin with. */
function nested({ fields }: DescMessage): Uint8Array {
  const number = fields[0]?.number ?? 1
  let bytes = new Uint8Array(0)
  for (let i = 0; i < 200; i++) bytes = new Uint8Array(concat([tag(number, bytesType), delimited(bytes)]))
  return bytes
}

function flipped(random: Random, bytes: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(bytes)
  for (let i = 0; i < 3 && changed.length > 0; i++) {
    const at = random.below(changed.length)
    changed[at] = (changed[at] ?? 0) ^ (1 << random.below(8))
  }
  return changed
}

const noise = (random: Random, length: number) => Uint8Array.from({ length }, () => random.below(256))
const repeated = (times: number, bytes: Uint8Array) => Array.from({ length: times }, () => bytes)
const concat = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))
const delimited = (bytes: Uint8Array) => concat([varint(BigInt(bytes.length)), bytes])
const tag = (number: number, wireType: number = fixed64Type) =>
  varint((BigInt(number) << 3n) | BigInt(wireType === 6 ? fixed32Type : wireType))

function varint(value: bigint): Uint8Array {
  const bytes: number[] = []
  let rest = value
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    bytes.push(rest > 0n ? low | 0x80 : low)
  } while (rest > 0n)
  return Uint8Array.from(bytes)
}
