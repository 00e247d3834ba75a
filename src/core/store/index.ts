export * from './contract'
export { filterErrors, type Where } from './filter'
export { pageErrors, pageSizeMax, parsePageSize } from './page'
export { createStore } from './store'
