import { Type } from '../schema'

/** Some settings that stand together, and their title in the example file. */
export const section = <P extends Parameters<typeof Type.Object>[0]>(description: string, properties: P) =>
  Type.Object(properties, { additionalProperties: false, description })
