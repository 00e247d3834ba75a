import { addressOf } from './address'
import { identityOf } from './guard'
import { actorOf, type Identity } from './identity'

/** Who asks for something, and from where. */
export interface Asking {
  identity: Identity
  address: string
}

/** Of a request, for biz that decides by it or logs it. */
export const askingOf = (request: Request): Asking => ({ identity: identityOf(request), address: addressOf(request) })

/** As it stands in the line of the log that says what was done. */
export const askedBy = ({ identity, address }: Asking): { actor: string | undefined; address: string } => ({
  actor: actorOf(identity),
  address,
})
