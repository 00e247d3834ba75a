import { type Identifier, subjectOf } from '@/core/identity'
import { looksLikeServiceToken, type Tokens } from '@/core/tokens'

/** Takes the tokens of services, which are good until they expire: who makes them has the root key, and nobody can take that away. */
export const serviceIdentifier = (tokens: Pick<Tokens, 'verifyService'>): Identifier => ({
  takes: looksLikeServiceToken,
  async identify(credential) {
    const claims = await tokens.verifyService(credential)
    if (!claims) return undefined
    const { service: id, scopes, expiresAtMs } = claims
    return { identity: { kind: 'service', id, scopes: new Set(scopes) }, expiresAtMs, subjects: [subjectOf('service', id)] }
  },
})
