import { defineErrors } from '@/core/error'

export const userLookupErrors = defineErrors({
  /** The same for an account of somebody else and for one that there is not. */
  NotYours: ['PermissionDenied', 'You can look at your own account only: type /user without a name.'],
  WhomMissing: ['InvalidArgument', 'Say whose account: /user and then the username.'],
})
