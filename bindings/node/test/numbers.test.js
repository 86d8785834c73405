// Numbers: metrics, their HTTP endpoint, bandwidth, and the perf protocol.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { assertNoHandles, startNode, startPair, until } from './helpers.js'

after(assertNoHandles)

test("metrics are the node's own", async (t) => {
  const [a, b] = await startPair(t)
  const idle = await startNode(t)
  assert.equal(a.metrics.value('libp2pgo_connections', { transport: 'tcp', direction: 'outbound' }), 1)
  await until(() => b.metrics.value('libp2pgo_connections', { direction: 'inbound' }) === 1, 'the connection')
  assert.equal(idle.metrics.value('libp2pgo_connections_opened_total'), 0)
  await until(() => a.metrics.value('libp2pgo_dial_seconds') === 1, 'the dial to be counted')
  assert.equal(a.metrics.value('libp2pgo_nothing'), undefined)
  assert.equal(a.metrics.json().node, a.id)
  assert.match(a.metrics.text(), /^# TYPE libp2pgo_peers gauge$/m)
})

test('metrics follow pubsub and handles', async (t) => {
  const [a, b] = await startPair(t)
  const news = b.subscribe('news')
  await a.publish('news', 'one', { minPeers: 1 })
  await until(() => b.metrics.value('libp2pgo_subscription_delivered_total', { topic: 'news' }) === 1, 'the message')
  assert.equal(b.metrics.value('libp2pgo_handles', { kind: 'subscription' }), 1)
  assert.equal(a.metrics.value('libp2pgo_handles', { kind: 'subscription' }), 0)
  news.close()
})

test('the endpoint serves both forms and gives its port back', async (t) => {
  const a = await startNode(t)
  const server = a.metrics.serve()
  assert.match(server.address, /^127\.0\.0\.1:\d+$/)
  const text = await fetch(server.url)
  assert.equal(text.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  assert.match(await text.text(), /^libp2pgo_node_info\{/m)
  assert.equal((await (await fetch(`${server.url}.json`)).json()).node, a.id)
  assert.throws(() => a.metrics.serve(server.address), { code: 'ERR_LIBP2P_LISTEN' })
  assert.throws(() => a.metrics.serve('somewhere'), { code: 'ERR_LIBP2P_PARSE' })
  server.close()
  await assert.rejects(fetch(server.url))
  a.metrics.serve(server.address, { max_connections: 1 }).close()
})

test('bandwidth by peer and protocol', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/echo/1', (data) => data)
  await a.request(b.id, '/echo/1', Buffer.alloc(100_000))
  const { total, peers, protocols } = a.metrics.bandwidth()
  const echo = protocols.find(({ protocol }) => protocol === '/echo/1')
  assert.ok(echo.out >= 100_000 && echo.out < 101_000, `${echo.out}`)
  assert.equal(peers[0].peer, b.id)
  assert.ok(peers[0].in >= 100_000 && peers[0].in <= total.in)
  const quiet = await startNode(t, { metrics: { bandwidth: false } })
  assert.throws(() => quiet.metrics.bandwidth(), { code: 'ERR_LIBP2P_STATE' })
})

test('perf tells how long bytes take', async (t) => {
  const [a, b] = await startPair(t)
  const server = b.perf.serve({ max_streams: 4 })
  const result = await a.perf.run(b.id, { upload: 200_000, download: 400_000 })
  assert.equal(result.upload_bytes, 200_000)
  assert.equal(result.download_bytes, 400_000)
  assert.equal(result.transport, 'tcp')
  assert.ok(result.upload_ms > 0 && result.download_bytes_per_second > 0)
  assert.throws(() => b.perf.serve(), { code: 'ERR_LIBP2P_EXISTS' })
  await assert.rejects(a.perf.run(b.id, { upload: -1 }), { code: 'ERR_LIBP2P_INVALID' })
  server.close()
  await assert.rejects(b.perf.run(a.id, { upload: 1 }), { code: 'ERR_LIBP2P_PROTOCOL' })
})

test('an aborted perf run ends at the server too', async (t) => {
  const [a, b] = await startPair(t)
  const server = b.perf.serve()
  const abort = new AbortController()
  const run = a.perf.run(b.id, { download: 8 * 2 ** 30 }, { signal: abort.signal })
  await until(() => server.info().open === 1, 'the run to begin')
  abort.abort()
  await assert.rejects(run, { name: 'AbortError' })
  await until(() => server.info().open === 0, 'the run to end')
})
