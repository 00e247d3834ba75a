import type { Config } from '@/core/config/settings'
import type { ServiceIdentity } from '@/core/identity'

/** Who it is that shows a certificate. */

type RpcConfig = Config['rpc']

/** What node:tls says of a certificate that it has checked. */
export interface ShownCertificate {
  subject?: { CN?: string | string[] } | undefined
  subjectaltname?: string | undefined
}

/** Who shows a certificate, and what the configuration lets it do. @param services `rpc.services` */
export function certificateIdentities(services: RpcConfig['services']): (shown: ShownCertificate) => ServiceIdentity | undefined {
  const scopesOf = new Map(
    services.map(each => {
      const at = each.indexOf('=')
      return [each.slice(0, at), new Set(each.slice(at + 1).split('+'))] as const
    }),
  )
  return shown => {
    const names = namesIn(shown)
    const id = names.find(name => scopesOf.has(name)) ?? names[0]
    return id === undefined ? undefined : { kind: 'service', id, scopes: scopesOf.get(id) ?? new Set() }
  }
}

/** RFC 6125 §6.4.4: the common name counts only where there is no other. */
function namesIn({ subject, subjectaltname = '' }: ShownCertificate): string[] {
  const all = alternatives(subjectaltname)
  const [uris, hosts] = ['URI:', 'DNS:'].map(kind => all.flatMap(name => (name.startsWith(kind) ? name.slice(kind.length) : [])))
  if (uris && uris.length > 0) return uris
  if (hosts && hosts.length > 0) return hosts
  return typeof subject?.CN === 'string' && subjectaltname === '' ? [subject.CN] : []
}

/**
 * `DNS:a.example, URI:spiffe://b`. One that has a comma in it, or something else by which it could pass for several, stands in quotes
 * (CVE-2021-44532); no name of ours needs them, so it is nobody's.
 */
const alternatives = (text: string): string[] => (text === '' ? [] : text.split(', ').filter(name => !name.includes('"')))
