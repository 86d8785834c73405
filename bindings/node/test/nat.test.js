// Reachability, reservations with relays, and the relay service.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { createNode, runtimeInfo } from 'libp2pgo'
import { assertNoHandles, next, startNode, until, within, workFolder } from './helpers.js'

const service = { service: { enabled: true, when: 'always' } }
const relayed = (node) => node.addresses.filter((address) => address.includes('/p2p-circuit'))

/** The next event of a reservation in a state. */
async function reservation(events, state) {
  const wait = async () => {
    for (;;) {
      const { value } = await events.next()
      if (value.type === 'relay:reservation' && value.state === state) return value
    }
  }
  return within(wait(), `a reservation to be ${state}`, 20_000)
}

test('a reservation makes a node reachable while it is held', async (t) => {
  const relay = await startNode(t, { relay: service })
  const [a, b] = [await startNode(t), await startNode(t)]
  const told = next(b, 'relay:reservation')
  const place = await b.relay.reserve(relay.addresses)
  assert.equal(place.relay, relay.id)
  const [address] = place.addresses
  assert.ok(address.endsWith(`/p2p-circuit/p2p/${b.id}`))
  assert.deepEqual(relayed(b), place.addresses)
  const made = await told
  assert.equal(made.state, 'made')
  assert.equal(made.relay, relay.id)
  assert.deepEqual(made.addresses, place.addresses)
  assert.ok(made.expires > Date.now())
  assert.equal(await b.nat.wait('relayed'), 'unknown')
  assert.equal(b.nat.info().relayed.length, 1)

  b.onRequest('/echo/1', (data) => data)
  assert.equal(await a.connect(place.addresses), b.id)
  await assert.rejects(a.request(b.id, '/echo/1', 'hello'), { code: 'ERR_LIBP2P_LIMITED' })
  assert.equal((await a.request(b.id, '/echo/1', 'hello', { allow_limited: true })).toString(), 'hello')
  const info = relay.relay.info().service
  assert.ok(info.running)
  assert.deepEqual(
    info.reservations.map(({ peer }) => peer),
    [b.id],
  )
  assert.equal(info.circuits, 1)
  assert.deepEqual(info.circuit_peers, [a.id, b.id].sort())

  place.close()
  assert.deepEqual(relayed(b), [])
  await assert.rejects(b.relay.reserve(a.addresses), { code: 'ERR_LIBP2P_PROTOCOL' })
})

test('a reservation comes back with its relay', async (t) => {
  const identity = join(await workFolder(t), 'relay.key')
  const b = await startNode(t, { relay: { client: { retry_min_ms: 50, retry_max_ms: 100 } } })
  const events = b.events()
  let relay = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'], identity, relay: service })
  const port = relay.addresses[0].split('/')[4]
  const place = await b.relay.reserve(relay.addresses)
  await reservation(events, 'made')
  await relay.close()
  const lost = await reservation(events, 'lost')
  assert.ok(lost.error instanceof Error && lost.retryMs >= 0)
  assert.deepEqual(place.addresses, [])
  relay = await startNode(t, { listen: [`/ip4/127.0.0.1/tcp/${port}`], identity, relay: service })
  await reservation(events, 'made')
  assert.deepEqual(relayed(b), place.addresses)
  assert.equal(place.addresses.length, 1)
})

test('a private node holds places with the relays of its options, a public one does not', async (t) => {
  const relay = await startNode(t, { relay: service })
  const client = { client: { relays: relay.addresses } }
  const b = await startNode(t, { relay: client, nat: { reachability: 'private' } })
  assert.equal(await b.nat.wait(), 'private')
  assert.equal(relayed(b).length, 1)
  const c = await startNode(t, { relay: client, nat: { reachability: 'public' } })
  const { reachability, source } = await next(c, 'nat:reachability')
  assert.deepEqual([reachability, source], ['public', 'option'])
  assert.equal(await c.nat.wait('public'), c.nat.reachability)
  assert.deepEqual(c.relay.info().client.reservations, [])
})

test('rules of the relay change at run time', async (t) => {
  const relay = await startNode(t, { relay: service })
  const b = await startNode(t)
  relay.relay.deny([b.id, '10.0.0.0/8'])
  await assert.rejects(b.relay.reserve(relay.addresses), { code: 'ERR_LIBP2P_REFUSED', message: /rules/ })
  relay.relay.forget(b.id)
  relay.relay.allow('127.0.0.0/8')
  const place = await b.relay.reserve(relay.addresses)
  place.close()
  const { allow, deny } = relay.relay.info().service
  assert.deepEqual(allow, ['127.0.0.0/8'])
  assert.deepEqual(deny, ['10.0.0.0/8'])
  // The relay counts when it has answered.
  const refused = () => relay.relay.info().service.refused.reservation_permission_denied
  await until(() => refused() === 1, 'the refusal to be counted')
  assert.throws(() => relay.relay.forget('127.0.0.1'), { code: 'ERR_LIBP2P_NOT_FOUND' })
  assert.throws(() => b.relay.allow('127.0.0.1'), { code: 'ERR_LIBP2P_STATE' })
})

test('waiting ends with its signal, its time and its node', async (t) => {
  const relay = await startNode(t, { relay: service })
  const b = await startNode(t)
  await assert.rejects(b.nat.wait('public', { timeout: 50 }), { code: 'ERR_LIBP2P_TIMEOUT' })
  await assert.rejects(b.nat.wait('tomorrow'), { code: 'ERR_LIBP2P_INVALID' })
  for (const ms of [0, 1, 5, 20]) {
    const reserving = b.relay.reserve(relay.addresses, { signal: AbortSignal.timeout(ms) })
    await reserving.then(
      (place) => place.close(),
      (error) => assert.equal(error.name, 'TimeoutError'),
    )
    // One that was made before the signal came is closed a moment later.
    await until(() => b.relay.info().client.reservations.length === 0, 'nothing to be reserved')
  }
  await b.relay.reserve(relay.addresses)
  const waiting = assert.rejects(b.nat.wait('public', { timeout: Number.POSITIVE_INFINITY }), {
    code: 'ERR_LIBP2P_CLOSED',
  })
  await b.close()
  await waiting
  await assert.rejects(b.nat.wait(), { code: 'ERR_LIBP2P_CLOSED' })
})

test('reservations leave nothing behind', async () => {
  const relay = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'], relay: service })
  let before = 0
  for (let cycle = 0; cycle < 8; cycle++) {
    const b = await createNode({ listen: [] })
    for (let i = 0; i < 3; i++) (await b.relay.reserve(relay.addresses)).close()
    await b.relay.reserve(relay.addresses)
    await b.close()
    if (cycle === 2) before = runtimeInfo().goroutines
  }
  await until(() => runtimeInfo().goroutines <= before + 4, 'the goroutines to end', 20_000)
  await relay.close()
  await assertNoHandles()
})
