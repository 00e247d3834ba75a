import type { Socket } from 'bun'

/** A way to a server that can be made to lose what is answered, with its connection, after the server has done what was asked. */
export interface LossyProxy {
  port: number
  /** The answers to the next so many requests with this word in them are lost. */
  loseAnswers(count: number, word: string): void
  /** How many were. */
  readonly lost: number
  [Symbol.dispose](): void
}

interface Side {
  other?: Socket<Side>
  pending: Buffer[]
  isLosing: boolean
}

const send = (socket: Socket<Side> | undefined, pending: Buffer[]) => {
  while (socket && pending.length > 0) {
    const [first] = pending as [Buffer]
    const written = socket.write(first)
    if (written < first.length) {
      pending[0] = first.subarray(Math.max(0, written))
      return
    }
    pending.shift()
  }
}

export function lossyProxy(serverPort: number): LossyProxy {
  let left = 0
  let wanted = ''
  let lost = 0
  const listener = Bun.listen<Side>({
    hostname: '127.0.0.1',
    port: 0,
    socket: {
      open(client) {
        client.data = { pending: [], isLosing: false }
        const toServer: Buffer[] = []
        client.data.pending = toServer
        void Bun.connect<Side>({
          hostname: '127.0.0.1',
          port: serverPort,
          data: { other: client, pending: [], isLosing: false },
          socket: {
            open(server) {
              client.data.other = server
              send(server, toServer)
            },
            data(server, answer) {
              if (client.data.isLosing) {
                lost++
                client.terminate()
                server.terminate()
                return
              }
              server.data.pending.push(Buffer.from(answer))
              send(client, server.data.pending)
            },
            drain: server => send(server, toServer),
            close: () => void client.end(),
            error: () => void client.end(),
          },
        }).catch(() => client.end())
      },
      data(client, request) {
        if (left > 0 && request.includes(wanted)) {
          left--
          client.data.isLosing = true
        }
        client.data.pending.push(Buffer.from(request))
        send(client.data.other, client.data.pending)
      },
      drain: client => void (client.data.other && send(client, client.data.other.data.pending)),
      close: client => void client.data.other?.end(),
      error: client => void client.data.other?.end(),
    },
  })
  return {
    port: listener.port,
    loseAnswers(count, word) {
      left = count
      wanted = word
    },
    get lost() {
      return lost
    },
    [Symbol.dispose]: () => listener.stop(true),
  }
}
