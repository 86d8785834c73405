// A node's life, its peers and its events.
import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { stat, writeFile } from 'node:fs/promises'
import { createConnection, createServer } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import { createKey, createNode, DialError, Libp2pError, peerIdOfKey } from 'libp2pgo'
import { assertNoHandles, next, startNode, startPair, until, within, workFolder } from './helpers.js'

after(assertNoHandles)

const nobody = '12D3KooWLp2ir87w3yXq8Hgz7Wt9gQXbFkmQrdMDzSyPo9LkdSwh'
const nowhere = `/ip4/127.0.0.1/tcp/1/p2p/${nobody}`

test('a node has an id and addresses that end in it', async (t) => {
  const node = await startNode(t)
  assert.match(node.id, /^12D3KooW/)
  assert.equal(node.addresses.length, 1)
  assert.match(node.addresses[0], new RegExp(`^/ip4/127\\.0\\.0\\.1/tcp/\\d+/p2p/${node.id}$`))
  assert.equal(inspect(node), `Node { id: '${node.id}', state: 'running' }`)
})

test('close frees the port, and can be called again', async () => {
  const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'] })
  const port = Number(/tcp\/(\d+)/.exec(node.addresses[0])[1])
  await Promise.all([node.close(), node.close()])
  await node.close()
  const server = createServer().listen(port, '127.0.0.1')
  await next(server, 'listening')
  server.close()
})

/** All that a node and its parts can be asked, with arguments that would be good. */
const verbs = {
  addresses: (node) => node.addresses,
  info: (node) => node.info(),
  listen: (node) => node.listen('/ip4/127.0.0.1/tcp/0'),
  unlisten: (node) => node.unlisten('/ip4/127.0.0.1/tcp/0'),
  announce: (node) => node.announce({ hide: [] }),
  limits: (node) => node.limits(),
  connect: (node) => node.connect(nowhere),
  disconnect: (node) => node.disconnect(nobody),
  peers: (node) => node.peers(),
  peerInfo: (node) => node.peerInfo(nobody),
  ping: (node) => node.ping(nobody),
  'ping an address': (node) => node.ping(nowhere),
  explain: (node) => node.explain(nowhere),
  keep: (node) => node.keep(nowhere),
  release: (node) => node.release(nobody),
  handle: (node) => node.handle('/a/1', () => {}),
  open: (node) => node.open(nobody, '/a/1'),
  request: (node) => node.request(nobody, '/a/1', ''),
  requestStream: (node) => node.requestStream(nobody, '/a/1', '').next(),
  onRequest: (node) => node.onRequest('/a/1', () => ''),
  join: (node) => node.join('a'),
  publish: (node) => node.publish('a', ''),
  subscribe: (node) => node.subscribe('a'),
  'connections.tag': (node) => node.connections.tag(nobody, 'a', 1),
  'connections.trim': (node) => node.connections.trim(),
  'connections.setWatermarks': (node) => node.connections.setWatermarks({ low: 1 }),
  'peerstore.known': (node) => node.peerstore.known(),
  'peerstore.record': (node) => node.peerstore.record(),
  'gater.block': (node) => node.gater.block(nobody),
  'gater.ask': (node) => node.gater.ask(() => true),
  'discovery.join': (node) => node.discovery.join('a'),
  'discovery.register': (node) => node.discovery.register(nowhere, 'a'),
  'metrics.text': (node) => node.metrics.text(),
  'metrics.serve': (node) => node.metrics.serve(),
  'perf.serve': (node) => node.perf.serve(),
  'perf.run': (node) => node.perf.run(nobody, {}),
  'pubsub.info': (node) => node.pubsub.info(),
  'pubsub.trace': (node) => node.pubsub.trace(),
  'nat.info': (node) => node.nat.info(),
  'nat.wait': (node) => node.nat.wait(),
  'relay.info': (node) => node.relay.info(),
  'relay.reserve': (node) => node.relay.reserve(nowhere),
  'dht.info': (node) => node.dht.info(),
  'dht.get': (node) => node.dht.get('/a/b'),
  'dht.search': (node) => node.dht.search('/a/b'),
}

for (const state of ['closing', 'closed']) {
  test(`a ${state} node says so, whatever it is asked`, async () => {
    const node = await createNode({ listen: [], dht: { mode: 'client' } })
    const topic = node.join('b')
    const end = node.close()
    if (state === 'closed') await end
    const answers = Object.entries(verbs).map(async ([name, ask]) => {
      try {
        await ask(node)
        return [name, 'was done']
      } catch ({ code, message }) {
        return [name, `${code}: ${message}`]
      }
    })
    const told = Object.keys(verbs).map((name) => [name, 'ERR_LIBP2P_CLOSED: the node is closed'])
    assert.deepEqual(await Promise.all(answers), told)
    assert.throws(() => topic.peers(), {
      name: 'ClosedError',
      code: 'ERR_LIBP2P_CLOSED',
      message: 'the topic is closed',
    })
    await end
  })
}

test("an address stands for the peer, which is connected to first, within the call's time", async (t) => {
  const b = await startNode(t)
  b.handle('/echo/1', (stream) => stream.pipe(stream))
  b.onRequest('/upper/1', (data) => data.toString().toUpperCase())
  b.onRequest('/parts/1', async function* () {
    yield 'part'
  })
  b.perf.serve()
  const [address] = b.addresses
  const calls = {
    ping: async (a) => (await a.ping(address)) > 0,
    open: async (a) => (await a.open(address, '/echo/1', { timeout: Number.POSITIVE_INFINITY })).peer === b.id,
    request: async (a) => (await a.request(address, '/upper/1', 'x', { timeout: 10_000 })).equals(Buffer.from('X')),
    requestStream: async (a) => {
      for await (const part of a.requestStream(address, '/parts/1', '')) return String(part) === 'part'
    },
    'perf.run': async (a) => (await a.perf.run(address, { upload: 10 })).peer === b.id,
  }
  for (const [name, call] of Object.entries(calls)) {
    const a = await startNode(t, { listen: [] })
    assert.equal(await call(a), true, name)
    assert.deepEqual(a.peers(), [b.id], name)
    await a.close()
  }
  const a = await startNode(t, { listen: [] })
  const { port } = await silentServer(t)
  const silent = `/ip4/127.0.0.1/tcp/${port}/p2p/${nobody}`
  await assert.rejects(a.ping(silent, { timeout: 50 }), { code: 'ERR_LIBP2P_TIMEOUT' })
  await assert.rejects(a.request(silent, '/upper/1', 'x', { signal: AbortSignal.timeout(50) }), {
    name: 'TimeoutError',
  })
  // What connecting takes is no longer there for the answer.
  b.onRequest('/left/1', (_, { deadline }) => String(deadline - Date.now()))
  const slow = await delayed(t, Number(/tcp\/(\d+)/.exec(address)[1]), 300)
  const left = await a.request(`/ip4/127.0.0.1/tcp/${slow}/p2p/${b.id}`, '/left/1', '', { timeout: 10_000 })
  assert.ok(Number(left) <= 9_700, `${left} ms are left`)
})

test('Symbol.asyncDispose closes', async () => {
  const node = await createNode({ listen: [] })
  await node[Symbol.asyncDispose]()
  assert.match(inspect(node), /closed/)
})

test('closing tells calls that wait', async (t) => {
  const node = await createNode({ listen: [] })
  const { port } = await silentServer(t)
  const call = node.connect(`/ip4/127.0.0.1/tcp/${port}/p2p/12D3KooWLp2ir87w3yXq8Hgz7Wt9gQXbFkmQrdMDzSyPo9LkdSwh`)
  const rejected = assert.rejects(call, { code: 'ERR_LIBP2P_CLOSED' })
  await node.close()
  await within(rejected, 'the rejection')
})

/** A TCP port that leads to another one, which it connects to after some milliseconds. */
async function delayed(t, port, ms) {
  const server = createServer((socket) => {
    t.after(() => socket.destroy())
    setTimeout(() => pipeline(socket, createConnection({ host: '127.0.0.1', port }), socket, () => {}), ms)
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await next(server, 'listening')
  return server.address().port
}

/** A TCP server that accepts and never says a word. */
async function silentServer(t) {
  const sockets = new Set()
  const server = createServer((socket) => sockets.add(socket.on('error', () => {}))).listen(0, '127.0.0.1')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  await next(server, 'listening')
  return server.address()
}

test('an identity comes from bytes, and from a file that is made for it', async (t) => {
  const key = createKey()
  const node = await startNode(t, { identity: key })
  assert.equal(node.id, peerIdOfKey(key))

  const file = join(await workFolder(t), 'node.key')
  const first = await createNode({ listen: [], identity: file })
  await first.close()
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  const second = await startNode(t, { listen: [], identity: { file } })
  assert.equal(second.id, first.id)
})

for (const type of ['ed25519', 'secp256k1', 'ecdsa', 'rsa']) {
  test(`a key of type ${type} makes a node`, async (t) => {
    const key = createKey(type)
    const node = await startNode(t, { listen: [], identity: new Uint8Array(key) })
    assert.equal(node.id, peerIdOfKey(key))
  })
}

test('a key file that others can read is refused', async (t) => {
  const file = join(await workFolder(t), 'node.key')
  await writeFile(file, createKey(), { mode: 0o644 })
  await assert.rejects(createNode({ listen: [], identity: file }), (error) => {
    assert.equal(error.code, 'ERR_LIBP2P_PERMISSION')
    assert.ok(error.message.includes(file), error.message)
    return true
  })
})

test('an option that is wrong is an error with its path', async () => {
  await assert.rejects(createNode({ listen: [], pubsub: { degree: 8 } }), {
    name: 'ConfigError',
    code: 'ERR_LIBP2P_CONFIG',
    path: 'pubsub.degree',
  })
  await assert.rejects(createNode({ listen: [], pubsub: { d: 'eight' } }), {
    code: 'ERR_LIBP2P_CONFIG',
    path: 'pubsub.d',
  })
  await assert.rejects(createNode(7), { code: 'ERR_LIBP2P_INVALID' })
  await assert.rejects(createNode({ identity: { key: 'text' } }), {
    code: 'ERR_LIBP2P_INVALID',
    message: /identity\.key/,
  })
})

test('a private network keeps strangers out', async (t) => {
  const key = Buffer.alloc(32, 7)
  const a = await startNode(t, { private_network: key })
  const b = await startNode(t, { private_network: { key } })
  const stranger = await startNode(t, { listen: [] })
  assert.equal(await a.connect(b.addresses), b.id)
  await assert.rejects(stranger.connect(a.addresses, { timeout: 5000 }), Libp2pError)
  await assert.rejects(createNode({ private_network: key, listen: ['/ip4/127.0.0.1/udp/0/quic-v1'] }), {
    code: 'ERR_LIBP2P_CONFIG',
  })
})

test('a port that is taken is an error with the address', async (t) => {
  const node = await startNode(t)
  const address = node.addresses[0].replace(/\/p2p\/.*/, '')
  await assert.rejects(createNode({ listen: [address] }), (error) => {
    assert.equal(error.code, 'ERR_LIBP2P_LISTEN')
    assert.ok(error.message.includes(address), error.message)
    return true
  })
})

test('a start can be aborted', async () => {
  await assert.rejects(createNode({ signal: AbortSignal.abort(new Error('never mind')) }), { message: 'never mind' })
  const abort = new AbortController()
  const start = createNode({ listen: [], signal: abort.signal })
  abort.abort(new Error('changed my mind'))
  await assert.rejects(start, { message: 'changed my mind' })
  await assertNoHandles()
})

test('connect, ping, peers and peerInfo agree; disconnect ends it', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  assert.equal(await a.connect(b.addresses[0]), b.id)
  assert.equal(await a.connect(b.id), b.id)
  assert.deepEqual(a.peers(), [b.id])
  const ms = await a.ping(b.id)
  assert.ok(ms > 0 && ms < 5000, `${ms} ms`)
  const info = a.peerInfo(b.id)
  assert.equal(info.id, b.id)
  assert.equal(info.connected, true)
  assert.equal(info.connections.length, 1)
  assert.equal(info.connections[0].direction, 'outbound')
  assert.deepEqual(
    a.peerInfo().map(({ id }) => id),
    [b.id],
  )
  const gone = next(b, 'peer:disconnect')
  a.disconnect(b.id)
  assert.equal((await gone).peer, a.id)
  assert.deepEqual(a.peers(), [])
})

test('peers and addresses may be objects with a text form', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  const address = { toString: () => b.addresses[0] }
  assert.equal(await a.connect(address), b.id)
  assert.ok((await a.ping({ toString: () => b.id })) > 0)
  await assert.rejects(a.connect({}), { code: 'ERR_LIBP2P_INVALID' })
  await assert.rejects(a.connect('/ip4/127.0.0.1/tcp/1\0/p2p'), { code: 'ERR_LIBP2P_INVALID' })
})

test('both sides hear of a connection', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  const connected = next(b, 'peer:connect')
  const outbound = next(a, 'peer:connect')
  await a.connect(b.addresses)
  const event = await connected
  assert.equal(event.peer, a.id)
  assert.equal(event.inbound, true)
  assert.equal(event.relayed, false)
  assert.equal((await outbound).inbound, false)
})

test('events() iterates until the node closes', async () => {
  const a = await createNode({ listen: [] })
  const b = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'] })
  const seen = []
  const reading = (async () => {
    for await (const event of b.events()) seen.push(event)
  })()
  await a.connect(b.addresses)
  await until(() => seen.some(({ type, peer }) => type === 'peer:connect' && peer === a.id), 'peer:connect')
  await a.close()
  await until(() => seen.some(({ type }) => type === 'peer:disconnect'), 'peer:disconnect')
  await b.close()
  await within(reading, 'the end of events()')
})

test('events() ends when its signal aborts', async (t) => {
  const node = await startNode(t, { listen: [] })
  const abort = new AbortController()
  const reading = (async () => {
    for await (const _ of node.events({ signal: abort.signal }));
  })()
  abort.abort()
  await within(reading, 'the end of events()')
})

test('an ended events() leaves nothing with its signal', async (t) => {
  const node = await startNode(t, { listen: [] })
  const { signal } = new AbortController()
  for (let i = 0; i < 3; i++) await node.events({ signal }).return()
  const last = node.events({ signal }).next()
  assert.equal(getEventListeners(signal, 'abort').length, 1)
  await node.close()
  assert.equal((await last).done, true)
  assert.equal(getEventListeners(signal, 'abort').length, 0)
})

test('dialling nobody lists every address and why', async (t) => {
  const node = await startNode(t, { listen: [] })
  const peer = '12D3KooWLp2ir87w3yXq8Hgz7Wt9gQXbFkmQrdMDzSyPo9LkdSwh'
  await assert.rejects(
    node.connect([`/ip4/127.0.0.1/tcp/1/p2p/${peer}`, `/ip4/127.0.0.1/tcp/2/p2p/${peer}`]),
    (error) => {
      assert.ok(error instanceof DialError)
      assert.equal(error.code, 'ERR_LIBP2P_DIAL')
      assert.deepEqual(error.attempts.map(({ address }) => address).sort(), [
        '/ip4/127.0.0.1/tcp/1',
        '/ip4/127.0.0.1/tcp/2',
      ])
      for (const { reason } of error.attempts) assert.match(reason, /refused/)
      return true
    },
  )
})

test('dialling the wrong peer is a security error', async (t) => {
  const [a, b] = [await startNode(t, { listen: [] }), await startNode(t)]
  const wrong = peerIdOfKey(createKey())
  await assert.rejects(a.connect(b.addresses[0].replace(b.id, wrong)), { code: 'ERR_LIBP2P_SECURITY' })
})

test('a peer that hangs in the handshake is given up in time', async (t) => {
  const node = await startNode(t, { listen: [] })
  const { port } = await silentServer(t)
  const address = `/ip4/127.0.0.1/tcp/${port}/p2p/12D3KooWLp2ir87w3yXq8Hgz7Wt9gQXbFkmQrdMDzSyPo9LkdSwh`
  await assert.rejects(within(node.connect(address, { timeout: 300 }), 'the rejection'), { code: 'ERR_LIBP2P_TIMEOUT' })
  const abort = new AbortController()
  const call = node.connect(address, { signal: abort.signal })
  abort.abort(new Error('enough'))
  await assert.rejects(within(call, 'the rejection'), { message: 'enough' })
})

test('a timeout that is no time is refused', async (t) => {
  const node = await startNode(t, { listen: [] })
  for (const timeout of [0, -1, 1.5, Number.NaN, '5']) {
    await assert.rejects(node.ping(node.id, { timeout }), { code: 'ERR_LIBP2P_INVALID' })
  }
})

test('keep connects again after a loss, release ends it', async (t) => {
  const a = await startNode(t, { keep: { retry_min_ms: 10, retry_max_ms: 50 } })
  const key = createKey()
  const first = await createNode({ identity: key, listen: ['/ip4/127.0.0.1/tcp/0'] })
  const listen = [first.addresses[0].replace(/\/p2p\/.*/, '')]
  const connected = next(a, 'peer:connect')
  a.keep(first.addresses)
  await connected
  const unreachable = next(a, 'peer:reconnect-failure')
  await first.close()
  const { error, retryMs } = await unreachable
  assert.ok(error instanceof Libp2pError)
  assert.ok(retryMs > 0)
  const again = next(a, 'peer:connect')
  const second = await createNode({ identity: key, listen })
  await again
  a.release(second.id)
  assert.throws(() => a.release(second.id), { code: 'ERR_LIBP2P_NOT_FOUND' })
  await second.close()
})

test('info names the node', async (t) => {
  const [a] = await startPair(t)
  assert.equal(typeof a.info(), 'object')
})

for (const listen of [
  '/ip4/127.0.0.1/udp/0/quic-v1',
  '/ip4/127.0.0.1/tcp/0/ws',
  '/ip4/127.0.0.1/udp/0/quic-v1/webtransport',
]) {
  test(`nodes meet over ${listen}`, async (t) => {
    const a = await startNode(t, { listen: [] })
    const b = await startNode(t, { listen: [listen] })
    assert.equal(await a.connect(b.addresses), b.id)
    assert.ok((await a.ping(b.id)) > 0)
  })
}
