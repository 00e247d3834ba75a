import { columnType } from '@/core/column'
import type { ColumnWords } from '@/core/migration'
import type { AnyTable } from '@/core/table'

/** The statements that make a table and its indexes, in the words of a database. */
export function createStatements(table: AnyTable, words: ColumnWords): string[] {
  const columns = table.columns
    .filter(({ name }) => name !== 'deletedAt')
    .map(column => {
      const suffix = column.name === 'id' ? ' not null primary key' : column.isOptional ? '' : ' not null'
      return `"${column.name}" ${columnType(column, words)}${suffix}`
    })
  if (table.softDelete) columns.push(words.softDeleteColumns)
  const among = table.softDelete ? 'live' : 'all'
  return [
    `create table "${table.name}" (${columns.join(', ')}) ${words.tableOptions}`,
    ...table.indexes.map(index =>
      index.isUnique ? words.uniqueIndex(table.name, index.columns, among) : words.index(table.name, index.columns),
    ),
  ]
}
