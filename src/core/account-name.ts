/**
 * One spelling for one account: of a username or an e-mail address, as somebody wrote it. Those that are kept are ASCII by their schemas,
 * so lower case means the same everywhere.
 */
export const canonicalName = (name: string): string => name.trim().toLowerCase()
