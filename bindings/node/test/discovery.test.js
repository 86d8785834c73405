// Peers that know a name, and not each other, meet.
import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import { native } from '../dist/ffi.js'
import { assertNoHandles, next, startNode, startPair, until, within } from './helpers.js'

after(assertNoHandles)

const quick = { retry_min_ms: 50, retry_max_ms: 200, interval_ms: 200 }
const nobody = '12D3KooWLp2ir87w3yXq8Hgz7Wt9gQXbFkmQrdMDzSyPo9LkdSwh'

function startPoint(t, options = {}) {
  return startNode(t, { rendezvous: { server: true, ttl_min_ms: 1000, ...options } })
}

/** A rendezvous point and nodes that use it. */
async function startWorld(t, guests = 2) {
  const point = await startPoint(t)
  const nodes = []
  for (let i = 0; i < guests; i++) nodes.push(await startNode(t, { rendezvous: { points: point.addresses } }))
  return [point, ...nodes]
}

const registrations = (node) => node.info().rendezvous.registrations

test('register, discover, unregister', async (t) => {
  const [point, a, b] = await startWorld(t)
  const registration = await a.discovery.register(point.addresses, 'books', { ttl_ms: 3_600_000 })
  assert.equal(registration.grantedMs, 3_600_000)
  const answer = await b.discovery.discover(point.addresses, 'books', { limit: 3 })
  assert.equal(answer.registrations.length, 1)
  const [found] = answer.registrations
  assert.equal(found.peer, a.id)
  assert.equal(found.namespace, 'books')
  assert.ok(found.ttl_ms > 3_590_000 && found.ttl_ms <= 3_600_000)
  assert.deepEqual(found.addresses.map((x) => `${x}/p2p/${a.id}`).sort(), a.addresses.sort())
  const { cookie } = answer
  assert.deepEqual((await b.discovery.discover(point.addresses, 'books', { cookie })).registrations, [])
  await assert.rejects(b.discovery.discover(point.addresses, 'films', { cookie }), {
    code: 'ERR_LIBP2P_INVALID',
    message: /cookie/,
  })
  registration.close()
  assert.ok(registration.closed)
  await until(() => registrations(point) === 0, 'the registration to be taken back')
  await a.discovery.register(point.addresses, 'books')
  await a.discovery.unregister(point.addresses, 'books')
  await until(() => registrations(point) === 0, 'the other one too')
})

test('a point refuses, in its own words', async (t) => {
  const point = await startPoint(t, { max_per_peer: 1, max_namespace: 4 })
  const a = await startNode(t)
  await assert.rejects(a.discovery.register(point.addresses, 'longer'), {
    code: 'ERR_LIBP2P_INVALID',
    message: /too long/,
  })
  await a.discovery.register(point.addresses, 'one')
  await assert.rejects(a.discovery.register(point.addresses, 'two'), { code: 'ERR_LIBP2P_BUSY', message: /too many/ })
  await assert.rejects(point.discovery.discover(a.addresses), { code: 'ERR_LIBP2P_PROTOCOL' })
  assert.throws(() => a.discovery.find('x'), { code: 'ERR_LIBP2P_STATE', message: /rendezvous\.points/ })
  assert.throws(() => a.discovery.advertise('x', { sources: ['tracker'] }), { path: 'sources[0]' })
})

test('a registration is renewed, and tells when it cannot be', async (t) => {
  const point = await startPoint(t)
  const a = await startNode(t)
  const registration = await a.discovery.register(point.addresses, 'n', { ttl_ms: 1000, retry_min_ms: 20 })
  const renewed = await next(registration, 'source:advertised')
  assert.equal(renewed.source, `rendezvous ${point.id}`)
  assert.ok(renewed.nextMs > 0 && renewed.nextMs <= 1000)
  const failed = next(registration, 'source:failure')
  await point.close()
  const { source, error, retryMs } = await failed
  assert.equal(source, `rendezvous ${point.id}`)
  assert.match(error.code, /^ERR_LIBP2P_/)
  assert.ok(retryMs >= 20)
})

test('advertise and find', async (t) => {
  const [, a, b] = await startWorld(t)
  const advertisement = a.discovery.advertise('t')
  await next(advertisement, 'source:advertised')
  const found = []
  for await (const peer of b.discovery.find('t')) found.push(peer)
  assert.deepEqual(
    found.map(({ peer }) => peer),
    [a.id],
  )
  assert.match(found[0].source, /^rendezvous /)
  assert.ok(found[0].addresses.length > 0)
  const search = b.discovery.find('t', { follow: true, limit: 1 })
  assert.equal((await within(search.next(), 'the peer')).value.peer, a.id)
  assert.equal((await within(search.next(), 'the end')).done, true)
  const following = b.discovery.find('nothing', { follow: true })
  const waiting = following.next()
  following.close()
  assert.equal((await waiting).done, true)
  const failing = b.discovery.find('t', { points: [`/ip4/127.0.0.1/tcp/1/p2p/${nobody}`] })
  await assert.rejects(within(failing.next(), 'the failure'), { code: 'ERR_LIBP2P_DIAL' })
})

test('those who join a topic meet', async (t) => {
  const [, ...nodes] = await startWorld(t, 3)
  const meetings = nodes.map((node) => node.discovery.join('book club', quick))
  for (const [i, meeting] of meetings.entries()) {
    const met = new Set()
    await within(
      (async () => {
        for await (const peer of meeting) if (met.add(peer).size === 2) break
      })(),
      'both others',
    )
    assert.deepEqual([...met].sort(), meeting.peers().sort())
    assert.ok(!met.has(nodes[i].id))
  }
  assert.match(inspect(meetings[0]), /^Meeting \{ topic: 'book club', state: 'open'/)
  const left = next(meetings[0], 'peer:leave')
  meetings[1].close()
  assert.equal((await left).peer, nodes[1].id)
  assert.ok(nodes[0].peers().includes(nodes[1].id))
  const gone = next(meetings[0], 'peer:leave')
  await nodes[2].close()
  assert.equal((await gone).peer, nodes[2].id)
  assert.ok(meetings[2].closed)
  assert.deepEqual(meetings[0].peers(), [])
})

test('connected peers meet without any source', async (t) => {
  const [a, b] = await startPair(t)
  const controller = new AbortController()
  const meeting = a.discovery.join('t', { signal: controller.signal })
  const met = next(meeting, 'peer:connect')
  b.discovery.join('t')
  const { peer, source, inbound, address } = await met
  assert.equal(peer, b.id)
  assert.equal(source, 'peers')
  assert.equal(inbound, false)
  assert.ok(address.endsWith(b.id))
  assert.throws(() => a.discovery.join('t'), { code: 'ERR_LIBP2P_EXISTS' })
  controller.abort()
  assert.ok(meeting.closed)
  assert.throws(() => a.discovery.join('u', { signal: controller.signal }), { name: 'AbortError' })
})

test('a peer that does not answer is told of, and forgotten', async (t) => {
  const [point, a] = await startWorld(t, 1)
  const hidden = await startNode(t, { addresses: { announce: ['/ip4/127.0.0.1/tcp/1'] } })
  await hidden.discovery.register(point.addresses, 't')
  const meeting = a.discovery.join('t', { ...quick, retry_limit: 2 })
  const first = await next(meeting, 'peer:unreachable')
  assert.equal(first.peer, hidden.id)
  assert.equal(first.error.code, 'ERR_LIBP2P_DIAL')
  assert.ok(first.retryMs > 0)
  assert.equal((await next(meeting, 'peer:unreachable')).retryMs, 0)
})

test('waiting calls are ended by a signal, by time and by the end of the node', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  t.after(() => server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  const sockets = new Set()
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  const nowhere = `/ip4/127.0.0.1/tcp/${server.address().port}/p2p/${nobody}`
  const node = await startNode(t)
  const controller = new AbortController()
  const registering = node.discovery.register(nowhere, 'n', { signal: controller.signal })
  controller.abort()
  await assert.rejects(registering, { name: 'AbortError' })
  await assert.rejects(node.discovery.discover(nowhere, 'n', { timeout: 50 }), { code: 'ERR_LIBP2P_TIMEOUT' })
  const meeting = node.discovery.join('t', { points: [nowhere] })
  const ended = new Promise((resolve) => meeting.once('close', resolve))
  const pending = assert.rejects(node.discovery.discover(nowhere), { code: 'ERR_LIBP2P_CLOSED' })
  await node.close()
  await pending
  assert.equal(await ended, undefined)
})

test('cycles leave nothing', async (t) => {
  const [point, a] = await startWorld(t, 1)
  const lib = native()
  for (let i = 0; i < 20; i++) {
    const running = [
      a.discovery.join('t'),
      a.discovery.find('t', { follow: true }),
      a.discovery.advertise('t'),
      await a.discovery.register(point.addresses, 'u'),
    ]
    for (const one of running) one.close()
    for (const one of running) one.close()
  }
  assert.equal(lib.p2p_live_handles(11) + lib.p2p_live_handles(12), 0)
  await until(() => registrations(point) === 0, 'the registrations to be taken back')
})
