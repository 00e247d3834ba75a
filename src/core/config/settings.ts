import { type Of, OneOf, secret, Type } from '../schema'
import { logLevels } from '../log'
import { account, auth, limit, password, session } from './access'
import { discord, telegram } from './chat'
import { rpc } from './rpc'
import { section } from './section'

const port = (description: string, fallback: number) =>
  Type.Integer({ minimum: 0, maximum: 65535, default: fallback, description: `${description} 0 = any free port.` })

/**
 * Every setting there is. Names of flags (`--http.port`), variables (`BINGO_HTTP_PORT`) and file keys (`[http] port`) are
 * computed from the path; help, example file and `config show` are made from the descriptions. Units stand last in a name.
 */
export const settings = Type.Object(
  {
    role: Type.Optional(
      Type.String({ minLength: 1, description: 'What this process is: api, admin, scheduler, bot, several with commas, or all.' }),
    ),
    database: section('Where the data is.', {
      url: secret(
        Type.String({
          format: 'database-url',
          default: 'sqlite:./data/bingo.db',
          description: 'sqlite:PATH, or mysql://user:password@host:3306/database, with / # ? @ : of the password percent-encoded.',
        }),
      ),
      poolSize: Type.Integer({ minimum: 1, maximum: 1000, default: 16, description: 'MySQL connections of this process.' }),
      queryTimeoutMs: Type.Integer({
        minimum: 1,
        maximum: 600_000,
        default: 10_000,
        description: 'How long one statement may take on MySQL; on SQLite, how long it may wait for another process to write.',
      }),
      replicaUrls: Type.Optional(
        secret(
          Type.Array(Type.String({ format: 'database-url', pattern: '^mysql:' }), {
            minItems: 1,
            maxItems: 16,
            description:
              'MySQL servers that replicate the one of url and answer reads, as URLs with commas between them, a comma in a password as %2C.',
          }),
        ),
      ),
      replicaLagMaxMs: Type.Integer({
        minimum: 1000,
        maximum: 3_600_000,
        default: 5000,
        description: 'A replica that is further behind is not read; servers say it in whole seconds.',
      }),
      acquireTimeoutMs: Type.Integer({
        minimum: 1,
        maximum: 600_000,
        default: 5000,
        description: 'How long a caller may wait for a connection, on SQLite for its turn to write; then 503 with Retry-After.',
      }),
      slowQueryMs: Type.Integer({
        minimum: 0,
        maximum: 600_000,
        default: 500,
        description: 'Statements that take longer are logged, with placeholders and never values. 0 = none.',
      }),
      leakWarnMs: Type.Integer({
        minimum: 0,
        maximum: 600_000,
        default: 5000,
        description: 'Transactions that hold their connection, on SQLite the turn to write, for longer are logged. 0 = none.',
      }),
      traceCallers: Type.Boolean({
        default: false,
        description: 'Whether that line says who called; for development, since each transaction then costs a stack trace.',
      }),
    }),
    redis: section('What the processes of a production share besides the database.', {
      url: Type.Optional(
        secret(
          Type.String({
            format: 'redis-url',
            description:
              'redis://user:password@host:6379/0, or rediss:// for TLS, with / # ? @ : of the password percent-encoded. For MySQL only: with SQLite there is none.',
          }),
        ),
      ),
      cluster: Type.Boolean({
        default: false,
        description: 'Whether url names one node of a Redis Cluster, which tells of the others. There are no copies of rows in Redis then.',
      }),
      sentinels: Type.Optional(
        Type.Array(Type.String({ pattern: '^[^\\s:/@,]+:[1-9][0-9]{0,4}$' }), {
          minItems: 1,
          maxItems: 16,
          description:
            'Redis Sentinels that know which server is the primary: host:port, with commas between them. Host and port of url are not used then.',
        }),
      ),
      sentinelName: Type.String({
        pattern: '^[A-Za-z0-9_.-]{1,64}$',
        default: 'mymaster',
        description: 'What the Sentinels call the primary.',
      }),
      prefix: Type.String({
        pattern: '^[A-Za-z0-9_.-]{1,32}$',
        default: 'bingo',
        description: 'First word of the keys of the task queue: another for each installation that shares a server.',
      }),
    }),
    queue: section('The task queue: in Redis, or in the file of SQLite.', {
      leaseMs: Type.Integer({
        minimum: 1000,
        maximum: 3_600_000,
        default: 30_000,
        description: 'When a worker has not been heard of for so long, its tasks are given to others. The same for all processes.',
      }),
      payloadMaxBytes: Type.Integer({
        minimum: 1024,
        maximum: 16 * 1024 * 1024,
        default: 256 * 1024,
        description: 'Largest payload of a task, as JSON.',
      }),
      timeoutMs: Type.Integer({
        minimum: 10,
        maximum: 60_000,
        default: 2000,
        description: 'How long Redis may take to take a task; then 503, or with a transaction the outbox keeps it.',
      }),
      concurrency: Type.Optional(
        Type.Array(Type.String({ pattern: '^[a-z][a-z0-9-]*:[1-9][0-9]{0,3}$' }), {
          minItems: 1,
          maxItems: 64,
          description: 'Tasks at a time in this process, other than the role says: queue:count or pool:count, with commas between them.',
        }),
      ),
    }),
    mail: section('Messages to people.', {
      url: Type.Optional(
        secret(
          Type.String({
            format: 'mail-url',
            description:
              'smtp://user:password@host:587, or smtps://. With SQLite messages are written to the folder mail beside it when this is not set; with MySQL it must be.',
          }),
        ),
      ),
      from: Type.String({
        format: 'mail-from',
        default: 'bingo <no-reply@localhost>',
        description: 'Who messages are from: an address, or a name with the address in angle brackets.',
      }),
    }),
    cache: section('Copies of rows that are read often, for the tables that ask for it. With MySQL they need Redis.', {
      memoryBytes: Type.Integer({
        minimum: 0,
        maximum: 1024 * 1024 * 1024,
        default: 32 * 1024 * 1024,
        description: 'Copies in the memory of this process. 0 = none.',
      }),
      timeoutMs: Type.Integer({
        minimum: 1,
        maximum: 10_000,
        default: 50,
        description: 'How long Redis may take to answer; after that the database is asked.',
      }),
    }),
    http: section('The API server, and what all HTTP servers share.', {
      host: Type.String({ minLength: 1, default: '127.0.0.1', description: 'Address that the API and bot servers listen on.' }),
      port: port('Port of the API server.', 8080),
      bodyLimitBytes: Type.Integer({
        minimum: 1024,
        maximum: 64 * 1024 * 1024,
        default: 1024 * 1024,
        description: 'Largest request body.',
      }),
      requestTimeoutMs: Type.Integer({
        minimum: 100,
        maximum: 600_000,
        default: 30_000,
        description: 'How long a request may take; then 504, while its work goes on.',
      }),
      corsOrigins: Type.Array(Type.String({ format: 'origin' }), {
        maxItems: 64,
        default: [],
        description:
          'Origins whose pages may use the API from browsers, such as https://app.example.com, with commas between them. Each is compared as a whole.',
      }),
      trustedProxies: Type.Array(Type.String({ format: 'network' }), {
        maxItems: 64,
        default: [],
        description:
          'Networks of the proxies before this server, such as 10.0.0.0/8, with commas between them: what they say in X-Forwarded-For is who called.',
      }),
      publicUrl: Type.Optional(
        Type.String({
          format: 'web-url',
          description:
            'Where people find your site, such as https://shop.example: links in messages lead to its pages /verify-email and /reset-password. Messages name only the code when it is not set.',
        }),
      ),
    }),
    account,
    admin: section('The admin server.', {
      host: Type.String({
        minLength: 1,
        default: '127.0.0.1',
        description:
          'Address that the admin server listens on. Wider than this host only behind TLS, and where administrators alone reach it.',
      }),
      port: port('Port of the admin server.', 8081),
      secondFactor: OneOf(['optional', 'required'], {
        default: 'optional',
        description: 'Whether every administrator needs a second factor: who has none can do nothing but set one up.',
      }),
      provenMs: Type.Integer({
        minimum: 10_000,
        maximum: 86_400_000,
        default: 900_000,
        description: 'For so long after a log-in, or another proof of who it is, dangerous operations need no further proof.',
      }),
      auditKeptMs: Type.Integer({
        minimum: 86_400_000,
        maximum: 20 * 366 * 86_400_000,
        default: 400 * 86_400_000,
        description: 'How long the audit log is kept; older events are removed, and the rest still proves to be whole.',
      }),
    }),
    bot: section('The bot server.', {
      port: port('Port of the bot server.', 8082),
    }),
    telegram,
    discord,
    rpc,
    ops: section('Health, metrics and version of each process.', {
      host: Type.String({ minLength: 1, default: '127.0.0.1', description: 'Address that the ops server listens on.' }),
      port: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 65535,
          description: 'Port of the ops server: by default 9464 for api and all, 9465 admin, 9466 scheduler, 9467 bot. 0 = any free port.',
        }),
      ),
    }),
    auth,
    session,
    limit,
    password,
    log: section('What is written to stdout.', {
      level: OneOf(logLevels, {
        default: 'info',
        description: 'Least level written, until an administrator says otherwise at /admin/v1/settings.',
      }),
      format: Type.Optional(OneOf(['json', 'pretty'], { description: 'pretty on a terminal, json elsewhere, unless said.' })),
    }),
    shutdown: section('What happens on SIGTERM.', {
      drainMs: Type.Integer({
        minimum: 0,
        maximum: 120_000,
        default: 0,
        description: 'How long /readyz says 503 before the servers stop accepting. Behind a load balancer: twice its check interval.',
      }),
      deadlineMs: Type.Integer({
        minimum: 0,
        maximum: 600_000,
        default: 25_000,
        description: 'How long what is in flight may take after that.',
      }),
    }),
  },
  { additionalProperties: false },
)

export type Config = Of<typeof settings>

/** Ports of the ops server when none is set; the first role named decides, so that all roles start on one host. */
const opsPorts: Record<string, number> = { api: 9464, admin: 9465, scheduler: 9466, bot: 9467 }

export const opsPort = (config: Config, firstRole: string): number => config.ops.port ?? opsPorts[firstRole] ?? 9464
