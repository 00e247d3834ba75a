import { accessErrors, decide, isForEveryone } from '@/core/access'
import type { Asking } from '@/core/asking'
import type { AppError } from '@/core/error'
import { anonymous, type Identity, type ServiceIdentity } from '@/core/identity'
import type { LiveSettings } from '@/core/live-settings'
import type { Log } from '@/core/log'
import type { RateLimits } from '@/core/rate-limit'
import { isOfThisHost } from '../http/address'
import { credentialIn, type Recognizer } from '../http/recognition'
import { closedError } from './closed'
import type { ServedMethod } from './served'

const usualScheme = 'Bearer '

/** Whether a call may be made: who calls, how often already, and by which rules. As of HTTP requests, by the same rules. */
export interface Admission {
  /**
   * Finds out who calls, and counts the call; waits only where it must.
   * @throws Unavailable while the house is closed, Unauthenticated, ResourceExhausted
   */
  admit(call: ArrivedCall): void | Promise<void>
  /** Before the input is read: whoever nobody knows is not let that far. @throws Unauthenticated */
  refuseStranger(call: ArrivedCall): void
  /** @throws Unauthenticated, PermissionDenied, NotFound */
  permit(call: ArrivedCall, params: Params): void | Promise<void>
  /** Whether whoever is listening to a stream may do so by now. @returns why not @throws Unavailable when it cannot be told */
  refusalNow(call: ArrivedCall, params: Params): Promise<AppError | undefined>
}

export type Params = Readonly<Record<string, string>>

/** A call, as it has come in. What is found out of it is kept here. */
export interface ArrivedCall {
  readonly method: ServedMethod
  readonly metadata: { get(key: string): readonly (string | Uint8Array)[] }
  readonly asking: Asking & { identity: Identity }
  /** What its certificate says, where everybody shows one. */
  ofCertificate(): ServiceIdentity | undefined
  credential: string | undefined
  isCredentialRefused: boolean
  isDenied: boolean
  /** What is left of the limits that it counts against: for its answer. */
  readonly limitHeaders: Record<string, unknown>
}

export interface AdmissionTools {
  log: Log
  recognizer: Recognizer | undefined
  limits?: RateLimits | undefined
  liveSettings?: Pick<LiveSettings, 'now'> | undefined
  isEncrypted: boolean
}

export function createAdmission({ log, recognizer, limits, liveSettings, isEncrypted }: AdmissionTools): Admission {
  let isClearTextSaid = isEncrypted

  function refuseClosed(): void {
    const closed = closedError(liveSettings)
    if (closed) throw closed
  }

  /** @returns a promise where it must be asked for. The credential wins over the certificate. */
  function introduce(call: ArrivedCall): void | Promise<void> {
    const [authorization, ...more] = call.metadata.get('authorization')
    if (authorization === undefined) {
      call.asking.identity = call.ofCertificate() ?? anonymous
      return
    }
    // What is remembered has the right form.
    const given = more.length === 0 && typeof authorization === 'string' ? authorization : ''
    const known = given.startsWith(usualScheme) ? given.slice(usualScheme.length) : ''
    const identity = known === '' ? undefined : recognizer?.remembered(known)
    if (identity) {
      call.credential = known
      call.asking.identity = identity
      return
    }
    // From where it comes takes longer to find out than all that is above, and each credential comes by here once.
    warnOfClearText(call)
    const credential = credentialIn(given)
    call.credential = credential
    if (credential === undefined || !recognizer) {
      call.isCredentialRefused = true
      return
    }
    const remembered = recognizer.remembered(credential)
    if (!remembered) return look(call, recognizer, credential)
    call.asking.identity = remembered
  }

  async function look(call: ArrivedCall, { recognize }: Recognizer, credential: string): Promise<void> {
    limits?.admit(call.asking, call.limitHeaders)
    const identity = await recognize(credential)
    if (identity) {
      call.asking.identity = identity
      return
    }
    call.isCredentialRefused = true
    await limits?.takeInvalid(call.asking, call.limitHeaders)
  }

  /** Other processes of ours call as often as they are called themselves, which is counted where that comes in. */
  function count({ asking, method, limitHeaders }: ArrivedCall): void | Promise<void> {
    if (asking.identity.kind === 'service') return
    return limits?.take(method.rateClass, asking.identity, asking, limitHeaders)
  }

  /** Whoever asks again and again is a machine of whoever runs this; whoever begins to watch again and again is not. */
  function countProbe({ asking, method, limitHeaders }: ArrivedCall): void | Promise<void> {
    if (method.run.kind !== 'unary') return limits?.take('read', anonymous, asking, limitHeaders)
  }

  function warnOfClearText({ asking }: ArrivedCall): void {
    if (isClearTextSaid || isOfThisHost(asking.address)) return
    isClearTextSaid = true
    log.warn('credentials come over gRPC without TLS: set rpc.tlsCertFile and rpc.tlsKeyFile', { server: 'rpc', address: asking.address })
  }

  return {
    admit(call) {
      if (call.method.isProbe) return countProbe(call)
      refuseClosed()
      const introduced = introduce(call)
      return introduced ? introduced.then(() => count(call)) : count(call)
    },
    refuseStranger(call) {
      if (call.asking.identity.kind === 'anonymous' && !isForEveryone(call.method.access)) throw denied(call, accessErrors.Credentials())
    },
    permit(call, params) {
      const refusal = decide(call.asking.identity, call.method.access, params)
      return refusal instanceof Promise ? refusal.then(late => throwIf(call, late)) : throwIf(call, refusal)
    },
    async refusalNow(call, params) {
      const { credential, asking, method } = call
      if (credential === undefined || !recognizer || method.isProbe) return undefined
      const now = recognizer.remembered(credential) ?? (await recognizer.recognize(credential))
      if (now === asking.identity) return undefined
      const refusal = now ? await decide(now, method.access, params) : accessErrors.Token()
      if (refusal) return denied(call, refusal)
      if (now) asking.identity = now
      return undefined
    },
  }
}

function throwIf(call: ArrivedCall, refusal: AppError | undefined): void {
  if (refusal) throw denied(call, refusal)
}

/** Notes that a call is denied. @returns what to throw: whoever has sent a credential is told that it is the credential */
function denied(call: ArrivedCall, refusal: AppError): AppError {
  call.isDenied = true
  return refusal.kind === 'Unauthenticated' && call.isCredentialRefused ? accessErrors.Token() : refusal
}
