import { createConnection, createServer, type Socket } from 'node:net'

/** A server as seen through a network that fails on command: connections are cut, and replies lost after the work was done. */
export interface FaultProxy {
  port: number
  /** How many connections were cut so far, for whatever reason. */
  readonly cuts: number
  /** Cuts every connection, wherever it stands. */
  cut(): void
  /**
   * Of the next requests that hold `text`, loses the reply: the server gets the request and answers, and its answer and the connection
   * are gone. Resolves when so many were lost.
   */
  loseReplies(text: string, count: number): Promise<void>
  /** Cuts every connection, and leads new ones to another server. */
  leadTo(port: number): void
  /** Refuses new connections, and cuts those that are there; or takes them again. */
  refuse(isOn: boolean): void
  [Symbol.asyncDispose](): Promise<void>
}

interface Loss {
  text: string
  left: number
  done(): void
}

interface Line {
  near: Socket
  far: Socket
  /** The next bytes from the server are lost, and the line with them. */
  loses: Loss | undefined
}

export async function startProxy(targetPort: number): Promise<FaultProxy> {
  const lines = new Set<Line>()
  let port = targetPort
  let isRefusing = false
  let loss: Loss | undefined
  let cuts = 0

  function end(line: Line, isCut: boolean) {
    if (!lines.delete(line)) return
    if (isCut) cuts++
    line.near.destroy()
    line.far.destroy()
  }

  const server = createServer(near => {
    if (isRefusing) {
      near.destroy()
      return
    }
    const far = createConnection({ host: '127.0.0.1', port })
    const line: Line = { near, far, loses: undefined }
    lines.add(line)
    near.setNoDelay(true)
    far.setNoDelay(true)
    near.on('data', data => {
      if (loss && loss.left > 0 && data.includes(loss.text)) {
        loss.left--
        line.loses = loss
      }
      far.write(data)
    })
    far.on('data', data => {
      if (!line.loses) {
        near.write(data)
        return
      }
      const { left, done } = line.loses
      end(line, true)
      if (left === 0) done()
    })
    for (const socket of [near, far]) {
      socket.on('error', () => end(line, false))
      socket.on('close', () => end(line, false))
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', () => resolve()))
  const address = server.address()
  const ownPort = typeof address === 'object' && address ? address.port : 0
  const cut = () => {
    for (const line of [...lines]) end(line, true)
  }
  return {
    port: ownPort,
    get cuts() {
      return cuts
    },
    cut,
    loseReplies(text, count) {
      const { promise, resolve } = Promise.withResolvers<void>()
      loss = { text, left: count, done: resolve }
      return promise
    },
    leadTo(next) {
      port = next
      cut()
    },
    refuse(isOn) {
      isRefusing = isOn
      if (isOn) cut()
    },
    async [Symbol.asyncDispose]() {
      cut()
      await new Promise(resolve => server.close(resolve))
    },
  }
}
