import type { Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import fastify, { type FastifyInstance } from 'fastify'
import { PrudentError } from '../errors.js'
import prudent from './fastify.js'
import type { ScoringService } from './scoring-service.js'

export interface ServerOptions {
  host: string
  /** 0 takes a free one. */
  port: number
  apiKey?: string | undefined
  /** Open connections; further ones are closed at once. */
  maxConnections?: number
  onError?: (error: unknown) => void
}

export interface Server {
  /** Where it listens. */
  url: string
  /** The server under it. */
  http: HttpServer
  /**
   * Takes no new connections and no new requests, answers those at work, and frees the model. What is not answered within `timeoutMs` is
   * cancelled (503).
   */
  close(timeoutMs: number): Promise<void>
}

const HEADERS_TIMEOUT_MS = 10_000
/** For the last answers to be written. */
const LINGER_MS = 2000
/** The longest that a timer can wait. */
const FOREVER_MS = 2 ** 31 - 1
const KEEP_ALIVE_MS = 65_000

/**
 * `prudent serve`: a service behind an HTTP server of its own, all timeouts on. The service is the server's from then on, and is disposed
 * of where it cannot start.
 * @throws E_IO if the address cannot be had, E_CONFIG for a key that cannot be one
 */
export async function startServer(service: ScoringService, options: ServerOptions): Promise<Server> {
  const app = makeServer(service, options)
  try {
    await app.ready()
    await listen(app, options)
  } catch (error) {
    await app.close()
    await service.dispose()
    throw error
  }
  return {
    http: app.server,
    url: urlOf(app.server.address() as AddressInfo),
    async close(timeoutMs) {
      const late = setTimeout(() => void service.dispose(), Math.min(timeoutMs, FOREVER_MS))
      const closed = app.close()
      await service.drain()
      clearTimeout(late)
      // A connection that has asked nothing, or has not asked it all, would be waited for until it times out.
      const rest = setTimeout(() => app.server.closeAllConnections(), LINGER_MS)
      await closed
      clearTimeout(rest)
      await service.dispose()
    },
  }
}

async function listen(app: FastifyInstance, { host, port }: ServerOptions): Promise<void> {
  await app.listen({ host, port }).catch((cause) => {
    throw new PrudentError('E_IO', `cannot listen on ${host}:${port}: ${cause.message}`, { argument: 'port', cause })
  })
}

function makeServer(
  service: ScoringService,
  { apiKey, maxConnections = 1024, onError }: ServerOptions,
): FastifyInstance {
  const { requestTimeoutMs, maxBodyBytes } = service.settings
  const app = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    // A socket that says nothing for longer than any answer takes.
    connectionTimeout: requestTimeoutMs + 10_000,
    // From a request's first byte to its last.
    requestTimeout: Math.min(requestTimeoutMs, 300_000),
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: 'idle',
    // The service says it: in the form of all errors, and when to come back.
    return503OnClosing: false,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, maxHeaderSize: 16_384, connectionsCheckingInterval: 2000 },
  })
  app.server.maxConnections = maxConnections
  void app.register(prudent, { service, apiKey, onError, prefix: '/' })
  return app
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}
