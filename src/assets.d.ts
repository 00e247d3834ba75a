/** Files that are embedded in the executable; the import is the path under which `Bun.file` opens them. */
declare module '*.css' {
  const path: string
  export default path
}
declare module 'swagger-ui-dist/swagger-ui-bundle.js' {
  const path: string
  export default path
}
