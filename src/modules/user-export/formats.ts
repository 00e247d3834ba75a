import { csvField } from '@/core/csv'
import { type ExportedUser, exportedColumns, type Format } from './schema'

/** How users stand in a file. */
export interface FileFormat {
  readonly mediaType: string
  readonly extension: string
  /** What the file begins with. */
  readonly head: string
  readonly line: (user: ExportedUser) => string
}

/** CSV as in RFC 4180, UTF-8. NDJSON: what the API shows of a user, one a line. */
export const formats: Readonly<Record<Format, FileFormat>> = {
  csv: {
    mediaType: 'text/csv; charset=utf-8; header=present',
    extension: 'csv',
    head: `${exportedColumns.join(',')}\r\n`,
    line: user => `${exportedColumns.map(column => csvField(user[column])).join(',')}\r\n`,
  },
  ndjson: { mediaType: 'application/x-ndjson', extension: 'ndjson', head: '', line: user => `${JSON.stringify(user)}\n` },
}
