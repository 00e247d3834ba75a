import { defineModule } from '@/core/module'
import { serviceIdentifier } from './biz'

/** Other processes of this installation, and services that hold its root key, call by gRPC with tokens that they make for themselves. */
export const serviceToken = defineModule({
  name: 'service-token',
  needs: ['tokens'],
  create: ({ tokens }) => ({ biz: {}, faces: { identifiers: { rpc: serviceIdentifier(tokens) } } }),
})
