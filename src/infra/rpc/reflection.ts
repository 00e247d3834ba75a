import {
  createFileRegistry,
  type DescFile,
  type DescMessage,
  type DescService,
  fromJson,
  type Message,
  type MessageInitShape,
  toBinary,
  toJson,
} from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt'
import { everyone } from '@/core/access'
import {
  ServerReflection,
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponseSchema,
} from '@/proto/generated/grpc/reflection/v1/reflection_pb.js'
import { codes, namesOf } from './grpc'
import type { ServedMethod } from './served'

/**
 * The reflection protocol of gRPC, by which tools learn what a server offers: v1, and v1alpha, which is the same by another name and which
 * many tools still speak.
 */

type Asked = ServerReflectionRequest['messageRequest']
type Answer = NonNullable<MessageInitShape<typeof ServerReflectionResponseSchema>['messageResponse']>

/** @param services all that the server has, but this one */
export function reflectionMethods(services: readonly DescService[]): ServedMethod[] {
  const reflections = [ServerReflection, alphaOf(ServerReflection)]
  const answerOf = answering([...services, ...reflections])
  async function* answers(requests: AsyncIterable<Message>) {
    for await (const each of requests) {
      const request = each as ServerReflectionRequest
      yield { validHost: request.host, originalRequest: request, messageResponse: answerOf(request.messageRequest) }
    }
  }
  return reflections.flatMap(service =>
    service.methods.map(method => ({
      ...namesOf(service, method),
      ...{ input: ServerReflectionRequestSchema, output: method.output, access: [everyone()] },
      ...{ rateClass: 'read' as const, isBuiltIn: true, isProbe: false, params: () => ({}), run: { kind: 'bidi' as const, answers } },
    })),
  )
}

/** The service as it was called before it was finished. */
function alphaOf({ file, methods: [method] }: DescService): DescService {
  const text = JSON.stringify(toJson(FileDescriptorProtoSchema, file.proto)).replace(/(grpc[./]reflection[./]v1)\b/g, '$1alpha')
  const alpha = fromJson(FileDescriptorProtoSchema, JSON.parse(text))
  const [service] = createFileRegistry(alpha, () => undefined).getFile(alpha.name)?.services ?? []
  if (!service || !method) throw new Error('the description of the reflection service is not as it was')
  return service
}

function answering(services: readonly DescService[]): (asked: Asked) => Answer {
  const files = withImports(services.map(({ file }) => file))
  const symbols = new Map(files.flatMap(file => symbolsOf(file).map(symbol => [symbol, file] as const)))
  return asked => {
    switch (asked.case) {
      case 'listServices':
        return { case: 'listServicesResponse', value: { service: services.map(({ typeName }) => ({ name: typeName })) } }
      case 'fileByFilename':
        return ofFile(files.find(({ proto }) => proto.name === asked.value))
      case 'fileContainingSymbol':
        return ofFile(symbols.get(asked.value))
      case 'fileContainingExtension':
      case 'allExtensionNumbersOfType':
        return failed(codes.NOT_FOUND, 'there are no extensions here')
      default:
        return failed(codes.UNIMPLEMENTED, 'this asks for nothing that is known here')
    }
  }
}

/** With all that it imports, so that whoever asks need not ask on. */
function ofFile(file: DescFile | undefined): Answer {
  if (!file) return failed(codes.NOT_FOUND, 'there is no such file or symbol here')
  const fileDescriptorProto = withImports([file]).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto))
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } }
}

const failed = (errorCode: number, errorMessage: string): Answer => ({ case: 'errorResponse', value: { errorCode, errorMessage } })

const withImports = (files: readonly DescFile[]): DescFile[] => [
  ...new Set(files.flatMap(file => [file, ...withImports(file.dependencies)])),
]

/** All that has a name in a file: services and their methods, messages with all that is in them, enumerations and their values. */
function symbolsOf({ services, messages, enums }: DescFile): string[] {
  return [
    ...services.flatMap(({ typeName, methods }) => [typeName, ...methods.map(({ name }) => `${typeName}.${name}`)]),
    ...messages.flatMap(symbolsIn),
    ...enums.map(({ typeName }) => typeName),
  ]
}

const symbolsIn = ({ typeName, fields, nestedMessages, nestedEnums }: DescMessage): string[] => [
  ...[typeName, ...fields.map(({ name }) => `${typeName}.${name}`), ...nestedEnums.map(nested => nested.typeName)],
  ...nestedMessages.flatMap(symbolsIn),
]
