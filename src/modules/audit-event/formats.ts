import { csvField } from '@/core/csv'
import { AuditEvent, type FileFormat } from './schema'

const columns = Object.keys(AuditEvent.properties) as (keyof AuditEvent)[]

/** How events stand in a file. */
export const formats: Readonly<Record<FileFormat, { mediaType: string; head: string; line(event: AuditEvent): string }>> = {
  csv: {
    mediaType: 'text/csv; charset=utf-8; header=present',
    head: `${columns.join(',')}\r\n`,
    line: event => `${columns.map(column => csvField(textOf(event[column]))).join(',')}\r\n`,
  },
  ndjson: { mediaType: 'application/x-ndjson', head: '', line: event => `${JSON.stringify(event)}\n` },
}

const textOf = (value: unknown): string | number | undefined =>
  value === undefined || typeof value === 'number' ? value : typeof value === 'string' ? value : JSON.stringify(value)
