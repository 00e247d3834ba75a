/** The fault tests, and announcements to bots that are killed, at full size, all or those whose names match what is given: `bun run test:faults 'mysql.*hangs'`. */
async function main(pattern: string): Promise<number> {
  const only = pattern ? ['--test-name-pattern', pattern] : []
  const tests = Bun.spawn([process.execPath, 'test', 'src/testing/faults', 'src/testing/e2e/announcements.test.ts', ...only], {
    env: { ...process.env, BINGO_TEST_FULL: '1' },
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  return tests.exited
}

process.exit(await main(process.argv.slice(2).join(' ')))

export {}
