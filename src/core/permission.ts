/** What administrators may do, by the names that routes ask for. A module declares those of its routes. */
export interface Permission {
  /** `users:suspend`: what of, and what. */
  readonly name: string
  /** What who has it may do, as a sentence begins: `Suspend users, and restore them`. */
  readonly summary: string
}

/** Every permission. Whoever holds it may grant any. */
export const everything = '*'
