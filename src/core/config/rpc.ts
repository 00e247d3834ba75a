import { Type } from '../schema'
import { section } from './section'

/** The settings of gRPC: of the server, and of those who call it. */

const file = (description: string) => Type.Optional(Type.String({ minLength: 1, description }))

export const rpc = section('gRPC, for other services: the API role serves it, and other roles call it.', {
  port: Type.Integer({ minimum: 0, maximum: 65535, default: 50_051, description: 'Port of the gRPC server. 0 = any free port.' }),
  host: Type.Optional(
    Type.String({ minLength: 1, description: 'Address that the gRPC server listens on; that of http.host when not set.' }),
  ),
  target: Type.Optional(
    Type.String({
      pattern: '^[^\\s]{1,1024}$',
      description:
        'Where this process finds the gRPC server: host:port, dns:///host:port for all addresses of a name, or ipv4:ADDRESS:PORT,ADDRESS:PORT. When not set, in this very process where it serves the API, and at rpc.port of 127.0.0.1 elsewhere.',
    }),
  ),
  tlsCertFile: file('Certificate chain of this process, PEM: of the server, and of those who call it where it asks for one.'),
  tlsKeyFile: file('Private key of that certificate, PEM.'),
  tlsCaFile: file(
    'Certificates of the authorities that are believed, PEM. A server that has them asks everybody for a certificate of theirs (mTLS); a caller that has them calls by TLS.',
  ),
  services: Type.Array(Type.String({ pattern: '^[A-Za-z0-9:/._-]{1,200}=[a-z-]+:[a-z-]+(\\+[a-z-]+:[a-z-]+){0,31}$' }), {
    maxItems: 256,
    default: [],
    description:
      'What services may do that show a certificate and nothing else: name=scope+scope with commas between them, such as reports.example=users:read. The name is the URI, else the DNS name, else the common name of the certificate.',
  }),
  timeoutMs: Type.Integer({
    minimum: 1,
    maximum: 600_000,
    default: 5000,
    description:
      'How long a call to another service may take, when who calls says nothing else; with all that is tried again. A stream is to begin in that time.',
  }),
  reflection: Type.Optional(
    Type.Boolean({ description: 'Whether anybody may ask the server what it offers. When not set, with SQLite yes, with MySQL no.' }),
  ),
})
