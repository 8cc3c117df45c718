// Tests are compiled by tsc first (set-up does that) and run as ES modules.
export default {
  testEnvironment: 'node',
  rootDir: 'dist/test',
  testMatch: ['<rootDir>/**/*.test.js'],
  transform: {},
  testTimeout: 30_000,
  maxWorkers: '100%',
}
