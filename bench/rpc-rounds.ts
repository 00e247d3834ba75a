/** A round of a load: calls one after another, so many at a time. */
export interface Round {
  inFlight: number
  seconds: number
}
export interface RoundResult {
  calls: number
  seconds: number
}

/** Runs what stdin says, a round a line, and answers with how many calls it were, a line each. */
export async function callOnCommand(call: () => Promise<{ user?: { username: string } | undefined }>): Promise<void> {
  for await (const line of console) {
    const { inFlight, seconds } = JSON.parse(line) as Round
    const beganMs = performance.now()
    const endMs = beganMs + seconds * 1000
    let calls = 0
    const loop = async () => {
      while (performance.now() < endMs) {
        const { user } = await call()
        if (user?.username !== 'ada') throw new Error('not what was asked for')
        calls++
      }
    }
    await Promise.all(Array.from({ length: inFlight }, loop))
    console.log(JSON.stringify({ calls, seconds: (performance.now() - beganMs) / 1000 } satisfies RoundResult))
  }
}
