/** Who is behind a request, as its route, its limits and its log lines need to know. */
export type Identity = Anonymous | UserIdentity | ApiKeyIdentity | AdminIdentity | ServiceIdentity

export interface Anonymous {
  readonly kind: 'anonymous'
}
/** A user who has logged in. */
export interface UserIdentity {
  readonly kind: 'user'
  /** Of the user. */
  readonly id: string
  readonly sessionId: string
}
/** A program with a key. */
export interface ApiKeyIdentity {
  readonly kind: 'apiKey'
  /** Of the key. */
  readonly id: string
  /** Whose key it is, who may then do what the user may; undefined for the key of a service, which an administrator has made. */
  readonly userId: string | undefined
  /** Such as `users:read`. */
  readonly scopes: ReadonlySet<string>
  /** Requests that it may make in a minute, where that is another number than the configured one. */
  readonly requestsPerMinute: number | undefined
}
/** An administrator who has logged in to the admin server. */
export interface AdminIdentity {
  readonly kind: 'admin'
  /** Of the administrator. */
  readonly id: string
  readonly sessionId: string
  readonly username: string
  /** Of all the roles. Such as `users:suspend`; `*` is every one. None while `lacks` says something. */
  readonly permissions: ReadonlySet<string>
  /** What has to be done before anything but what is the caller's own: the configuration asks for a second factor, and there is none. */
  readonly lacks?: 'secondFactor' | undefined
  /** Until when dangerous operations need no further proof of who it is; milliseconds since 1970. */
  readonly provenUntilMs: number
}
/** Another process of this installation, or another service, that calls by gRPC with a token or a certificate of its own. */
export interface ServiceIdentity {
  readonly kind: 'service'
  /** Its name: `bot`, or what its certificate says. */
  readonly id: string
  /** Such as `users:read`. */
  readonly scopes: ReadonlySet<string>
}

export const anonymous: Anonymous = { kind: 'anonymous' }

/** `user:0192…`: as it stands in logs, limits and keys; undefined for those whom nobody knows. */
export const actorOf = (identity: Identity): string | undefined =>
  identity.kind === 'anonymous' ? undefined : subjectOf(identity.kind, identity.id)

/** What processes remember something of, and forget it when it changes: an account, a session, a key, a role, a setting. */
export type Subject = `${SubjectKind}:${string}`
type SubjectKind = 'user' | 'admin' | 'service' | 'session' | 'apiKey' | 'adminRole' | 'setting'
export const subjectOf = (kind: SubjectKind, id: string): Subject => `${kind}:${id}`

/**
 * Recognizes the credentials of one kind, slowly: it may ask the database, whose primary it then reads. What it finds is kept and
 * used for further requests, on this process, until `expiresAtMs` or until one of `subjects` has changed (see `Revocations`).
 */
export interface Identifier {
  /** Whether a credential looks like one of this kind. No two identifiers of a server take the same. */
  takes(credential: string): boolean
  /** @returns undefined when it is forged, expired, revoked, unknown, of another server, or its account may not be used */
  identify(credential: string): Promise<Identified | undefined>
}

export interface Identified {
  readonly identity: Exclude<Identity, Anonymous>
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number
  /** All that it depends on: its session or key, and the account. */
  readonly subjects: readonly Subject[]
  /** Called, now and then, when it has been used: at most once a minute for each on each process. */
  used?(): void
}
