import { isIP } from 'node:net'
import { checkServerIdentity } from 'node:tls'
import { type ChannelOptions, Channel, credentials } from '@grpc/grpc-js'
import type { RpcTls } from '../tls'
import { answerMaxBytes } from './outgoing'

/** The connections of this process to the gRPC servers of others: one to each address of the target, and calls to each in turn. */

/** A connection that is silent for so long, with calls under way, is asked whether it is still there; */
const keepaliveMs = 1000
/** and is given up when it does not say so. */
const keepaliveTimeoutMs = 2000
/** A server that has started again is found within half a second and a bit. */
const reconnectMs = { min: 100, max: 500 }
/** Of the addresses of a name, when one of them is lost. */
const resolvedAgainMs = 1000

const options: ChannelOptions = {
  'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }] }),
  // What a name server says of the way to call is nobody's to say here.
  'grpc.service_config_disable_resolution': 1,
  'grpc.keepalive_time_ms': keepaliveMs,
  'grpc.keepalive_timeout_ms': keepaliveTimeoutMs,
  'grpc.initial_reconnect_backoff_ms': reconnectMs.min,
  'grpc.max_reconnect_backoff_ms': reconnectMs.max,
  'grpc.dns_min_time_between_resolutions_ms': resolvedAgainMs,
  'grpc.max_receive_message_length': answerMaxBytes,
  // A proxy of the environment is for the world outside, and would see the tokens.
  'grpc.enable_http_proxy': 0,
}

/** Connects when it is first called. By TLS when the target is to show a certificate of an authority that is believed. */
export function openChannel(target: string, { ca, own }: RpcTls): Channel {
  if (!ca) return new Channel(target, credentials.createInsecure(), options)
  const [key, cert] = own ? [own.key, own.cert] : [null, null]
  const addresses = addressesIn(target)
  if (addresses.length === 0) return new Channel(target, credentials.createSsl(ca, key, cert), options)
  // Node warns of an address as the name of a server (RFC 6066 §3), and Bun does not connect: so another is said, and nobody asks for it.
  const isOneOf: typeof checkServerIdentity = (_, certificate) => {
    const results = addresses.map(address => checkServerIdentity(address, certificate))
    return results.includes(undefined) ? undefined : results[0]
  }
  return new Channel(target, credentials.createSsl(ca, key, cert, { checkServerIdentity: isOneOf }), {
    ...options,
    'grpc.ssl_target_name_override': 'localhost',
  })
}

/** Of a target that says addresses rather than a name: whoever answers shows a certificate for any one of them. */
function addressesIn(target: string): string[] {
  const hosts = target
    .replace(/^(dns:\/\/\/|dns:|ipv4:|ipv6:)/, '')
    .split(',')
    .map(hostIn)
  return hosts.every(host => isIP(host) !== 0) ? hosts : []
}

/** `127.0.0.1` of `127.0.0.1:50051`, `::1` of `[::1]:50051`. */
function hostIn(address: string): string {
  if (isIP(address) !== 0) return address
  const port = address.lastIndexOf(':')
  const host = port === -1 ? address : address.slice(0, port)
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
}
