import { connect, type Socket } from 'node:net'

/** How connections begin. */
const answerMaxMs = 5000
/**
 * How long a server that took a connection may be silent: it hangs. Such an attempt is not given up with its caller, since the
 * server counts it as a broken handshake when it goes on, and refuses a host that has had 100 of them (max_connect_errors) until
 * an administrator says otherwise.
 */
export const silenceMaxMs = 30_000

interface Address {
  host?: string | undefined
  port?: number | undefined
  socketPath?: string | undefined
}

/** @param limitMs for the network to find the server; 5,000 at most, since then it is better to send anew */
export function dial({ host, port = 3306, socketPath }: Address, limitMs: number): Socket {
  const socket = socketPath ? connect(socketPath) : connect(port, host)
  const late = () => socket.destroy(Object.assign(new Error('connect ETIMEDOUT'), { code: 'ETIMEDOUT' }))
  const timer = setTimeout(late, Math.min(answerMaxMs, limitMs))
  socket.setNoDelay(true)
  socket.once('connect', () => {
    clearTimeout(timer)
    socket.setKeepAlive(true)
  })
  socket.once('close', () => clearTimeout(timer))
  return socket
}
