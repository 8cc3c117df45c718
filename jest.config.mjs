// Tests are compiled by tsc first (set-up does that) and run as ES modules. *.long.test.ts belong to npm run check:deep.
export default {
  testEnvironment: 'node',
  rootDir: 'dist/test',
  testMatch: ['<rootDir>/**/*.test.js'],
  testPathIgnorePatterns: ['/node_modules/', '\\.long\\.test\\.js$'],
  transform: {},
  testTimeout: 30_000,
  maxWorkers: '100%',
}
