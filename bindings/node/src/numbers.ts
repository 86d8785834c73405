// Numbers: what a node has and what it did, for programs and for Prometheus; and how fast it is to a peer.
import { inspect } from 'node:util'
import { type CallOptions, call, splitOptions } from './call.js'
import { native } from './ffi.js'
import {
  checkOptions,
  type Handle,
  integerOf,
  type OpenNode,
  optionsOf,
  takeHandle,
  takeText,
  textOf,
} from './memory.js'
import type { Queue } from './queue.js'
import { reach } from './reach.js'

/** Bytes of streams; what encryption and multiplexing add is not in it. */
export interface Bandwidth {
  in: number
  out: number
  /** Bytes per second at present, smoothed over some seconds. */
  rate_in: number
  rate_out: number
}

/** The bytes of a node, those with the most first. */
export interface BandwidthInfo {
  total: Bandwidth
  peers: (Bandwidth & { peer: string })[]
  protocols: (Bandwidth & { protocol: string })[]
}

/** One number of a metric, or a histogram. */
export interface MetricSample {
  labels: Record<string, string>
  value?: number
  count?: number
  sum?: number
  buckets?: { le: string; count: number }[]
}

/** All numbers of a node at one moment, by the names that Prometheus sees. */
export interface MetricsSnapshot {
  node: string
  time_ms: number
  metrics: Record<string, { type: 'counter' | 'gauge' | 'histogram'; help: string; samples: MetricSample[] }>
}

/** How to serve metrics over HTTP. */
export interface MetricsServeOptions {
  /** Connections at a time; more are closed at once. Default: 16. */
  max_connections?: number | undefined
}

/** How to serve the perf protocol. */
export interface PerfServeOptions {
  /** Bytes in each direction of a run. Default: 17179869184. */
  max_bytes?: number | undefined
  /** Runs at a time. Default: 16. */
  max_streams?: number | undefined
  /** Milliseconds that a run may take. Default: 300000. */
  timeout_ms?: number | undefined
}

/** How to run perf. */
export interface PerfOptions extends CallOptions {
  /** Also over a relayed connection with limits. Default: false. */
  allow_limited?: boolean | undefined
}

/** What a run took. */
export interface PerfResult {
  peer: string
  address: string
  transport: string
  security: string
  muxer: string
  relayed: boolean
  upload_bytes: number
  download_bytes: number
  /** Until the stream was open, with the dial if there was one. */
  open_ms: number
  /** From there until the first byte of the answer, or its end. */
  upload_ms: number
  /** From there until its end. */
  download_ms: number
  upload_bytes_per_second: number
  download_bytes_per_second: number
}

/** What runs on a node until closed, without events. */
export class Server {
  readonly #handle: Handle

  /** @internal */
  constructor(handle: Handle) {
    this.#handle = handle
  }

  /** What the library knows of it; see docs/info.md. */
  info(): Record<string, unknown> {
    return JSON.parse(takeText((lib, out) => lib.p2p_info(this.#handle, out))) as Record<string, unknown>
  }

  /** Ends it. */
  close(): void {
    native().p2p_close(this.#handle)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }
}

/** An HTTP endpoint with a node's numbers. */
export class MetricsServer extends Server {
  /** host:port that it serves at. */
  readonly address: string
  /** Of the text that Prometheus scrapes. */
  readonly url: string

  /** @internal */
  constructor(handle: Handle) {
    super(handle)
    const { address, url } = this.info() as { address: string; url: string }
    this.address = address
    this.url = url
  }

  [inspect.custom](): string {
    return `MetricsServer { url: '${this.url}' }`
  }
}

/** The numbers of a node, each its own: other nodes of the process do not show. */
export class Metrics {
  readonly #node: OpenNode

  /** @internal */
  constructor(node: OpenNode) {
    this.#node = node
  }

  /** All of them in Prometheus' text format. */
  text(): string {
    return takeText((lib, out) => lib.p2p_metrics(this.#node(), 'prometheus', out))
  }

  /** All of them. */
  json(): MetricsSnapshot {
    return JSON.parse(takeText((lib, out) => lib.p2p_metrics(this.#node(), 'json', out))) as MetricsSnapshot
  }

  /** The sum of a metric's samples that have these labels, of a histogram their number; undefined for an unknown name. */
  value(name: string, labels: Record<string, string> = {}): number | undefined {
    const wanted = Object.entries(labels)
    return this.json()
      .metrics[name]?.samples.filter((sample) => wanted.every(([key, value]) => sample.labels[key] === value))
      .reduce((sum, sample) => sum + (sample.value ?? sample.count ?? 0), 0)
  }

  /** How many bytes went where. */
  bandwidth(): BandwidthInfo {
    return JSON.parse(takeText((lib, out) => lib.p2p_bandwidth_info(this.#node(), out))) as BandwidthInfo
  }

  /**
   * Serves them over HTTP, as /metrics and /metrics.json, until closed.
   * @param address host:port; without a host at this machine's loopback, with port 0 at a free one
   */
  serve(address = '', options?: MetricsServeOptions): MetricsServer {
    const place = textOf('address', address)
    const document = optionsOf(options)
    return new MetricsServer(takeHandle((lib, out) => lib.p2p_metrics_serve(this.#node(), place, document, out)))
  }
}

/** The perf protocol, /perf/1.0.0: how fast bytes travel between two nodes. */
export class Perf {
  readonly #queue: Queue
  readonly #node: OpenNode

  /** @internal */
  constructor(queue: Queue, node: OpenNode) {
    this.#queue = queue
    this.#node = node
  }

  /** Swallows and sends bytes for whoever asks, until closed. */
  serve(options?: PerfServeOptions): Server {
    const document = optionsOf(options)
    return new Server(takeHandle((lib, out) => lib.p2p_perf_serve(this.#node(), document, out)))
  }

  /** Sends `upload` bytes to a peer, by id or address, that serves perf, fetches `download` bytes, and tells how long that took. */
  async run(
    peer: string | { toString(): string },
    bytes: { upload?: number | undefined; download?: number | undefined },
    options?: PerfOptions,
  ): Promise<PerfResult> {
    const to = textOf('peer', peer)
    checkOptions(bytes, 'upload', 'download')
    const upload = integerOf('upload', bytes.upload ?? 0, 0, Number.MAX_SAFE_INTEGER)
    const download = integerOf('download', bytes.download ?? 0, 0, Number.MAX_SAFE_INTEGER)
    const [bounds, document] = splitOptions(options)
    const { lib } = this.#queue
    return reach(this.#queue, this.#node(), to, bounds, (id, left) =>
      call(
        this.#queue,
        this.#node(),
        left,
        (request) => lib.p2p_perf_run(this.#node(), id, upload, download, document, null, request),
        (event) => JSON.parse(event.text()) as PerfResult,
      ),
    )
  }
}
