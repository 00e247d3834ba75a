/** What a process says of itself when it starts. */
export interface ProcessFacts {
  readonly id: string
  /** `admin`, `api`: the roles that it was started as. */
  readonly roles: readonly string[]
  /** Of the executable. */
  readonly version: string
  /** The name of its machine, or of its container. */
  readonly host: string
  readonly pid: number
}

/** A process of the installation, as those who operate it see it. Instants are RFC 3339, by the clock of the database. */
export interface ProcessView extends ProcessFacts {
  readonly startedAt: string
  /** When it last said that it is there; alive ones say so every five seconds. */
  readonly seenAt: string
  /** Whether it said so within `aliveMs`. One that was stopped is not listed any more, one that has crashed is for a day. */
  readonly isAlive: boolean
}

/** Who has said nothing for so long is dead, or cut off from the database. */
export const aliveMs = 15_000
/** At most so many are listed: those that were seen last. */
export const processesMax = 500

/** The processes that share the database, each started by `bingo --role`. */
export interface Processes {
  /** The one that this is. */
  readonly own: ProcessFacts
  /** Names of all roles that there are, run or not. */
  readonly roleNames: readonly string[]
  /** Alive and dead, those of the same role together, the oldest first. @throws Unavailable when the database cannot be asked */
  list(): Promise<ProcessView[]>
}
