// The distributed hash table: values, names of this node's own, providers, peers by their id.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createKey, peerIdOfKey } from 'libp2pgo'
import { assertNoHandles, next, startNode, until, within, workFolder } from './helpers.js'

after(assertNoHandles)

/** Servers that know each other through the first. */
async function network(t, count = 4, options = {}) {
  const nodes = []
  for (let i = 0; i < count; i++) {
    const node = await startNode(t, { dht: { mode: 'server', ...options } })
    if (i > 0) await node.connect(nodes[0].addresses)
    nodes.push(node)
  }
  for (const node of nodes) await node.dht.bootstrap(Math.min(count - 1, 2))
  return nodes
}

async function collect(flow) {
  const all = []
  for await (const item of flow) all.push(item)
  return all
}

test('values are found from every node', async (t) => {
  const nodes = await network(t, 4, { validators: ['app=accept'] })
  assert.ok((await nodes[1].dht.put('/app/motd', 'hello')) >= 2)
  for (const node of nodes) {
    assert.equal((await node.dht.get('/app/motd')).toString(), 'hello')
    assert.equal((await node.dht.get('/app/motd', { quorum: 1 })).toString(), 'hello')
  }
  const found = await collect(nodes[3].dht.search('/app/motd'))
  assert.equal(found.at(-1).data.toString(), 'hello')
  assert.equal(found.at(-1).key, '/app/motd')
  await assert.rejects(nodes[0].dht.get('/app/nothing'), { code: 'ERR_LIBP2P_NOT_FOUND' })
})

test('a name belongs to its owner, and its last value holds', async (t) => {
  const [a, b] = await network(t)
  await a.dht.set('color', 'red')
  await a.dht.set('color', 'green', { expiry_ms: 3_600_000 })
  assert.equal((await a.dht.get('color')).toString(), 'green')
  assert.equal((await b.dht.get(`${a.id}/color`)).toString(), 'green')
  const found = await collect(b.dht.search(`${a.id}/color`))
  assert.equal(found.at(-1).data.toString(), 'green')
  assert.ok(found.at(-1).sequence > 0)
  const raw = await b.dht.get(`${a.id}/color`, { raw: true })
  assert.ok((await b.dht.put(`/record/${a.id}/color`, raw)) > 0)
  await assert.rejects(b.dht.set(`${a.id}/color`, 'mine'), /another peer/)
  await a.dht.unset('color')
  await assert.rejects(b.dht.get(`${a.id}/color`), /withdrawn/)
  assert.equal((await collect(b.dht.search(`${a.id}/color`))).at(-1).withdrawn, true)
})

test('providers come as they are found', async (t) => {
  const nodes = await network(t)
  for (const node of nodes.slice(0, 2)) assert.ok((await node.dht.provide('/model/7')) > 0)
  for (const node of nodes) {
    const found = await collect(node.dht.findProviders('/model/7'))
    assert.deepEqual(found.map((p) => p.peer).sort(), [nodes[0].id, nodes[1].id].sort())
    assert.ok(found.every((p) => p.addresses.length > 0))
  }
  assert.equal((await collect(nodes[3].dht.findProviders('/model/7', { count: 1 }))).length, 1)
  for await (const provider of nodes[3].dht.findProviders('/model/7')) {
    assert.ok(provider.peer)
    break
  }
  assert.deepEqual(await collect(nodes[3].dht.findProviders('/nobody')), [])
})

test('many keys are kept provided', async (t) => {
  const keys = Array.from({ length: 20 }, (_, i) => createHash('sha256').update(String(i)).digest('hex'))
  const [a, b] = await network(t)
  await a.dht.startProviding(keys)
  assert.equal(a.dht.info().providing, 20)
  for (const key of keys) {
    await until(async () => (await collect(b.dht.findProviders(key))).length === 1, `${key} to be provided`)
  }
  await a.dht.stopProviding(keys.slice(1))
  assert.equal(a.dht.info().providing, 1)
})

test('peers are found by their id, also to connect', async (t) => {
  const nodes = await network(t)
  const client = await startNode(t, { dht: { mode: 'client' } })
  await client.connect(nodes[0].addresses)
  await client.dht.bootstrap()
  const target = nodes.at(-1)
  assert.ok((await client.dht.findPeer(target.id)).some((address) => target.addresses.includes(address)))
  assert.ok((await client.dht.closestPeers(target.id)).includes(target.id))
  assert.equal(await client.connect(target.id), target.id)
  assert.ok((await client.dht.refresh()) >= 1)
  const nobody = peerIdOfKey(createKey())
  await assert.rejects(client.dht.findPeer(nobody), { code: 'ERR_LIBP2P_NOT_FOUND' })
  await assert.rejects(client.connect(nobody), /DHT/)
})

test('the program judges values', async (t) => {
  const asked = []
  const [a, ...others] = await network(t, 3, { validators: ['ask=ask'], validate_timeout_ms: 5000 })
  for (const node of others) {
    node.dht.validator(async (key, data) => {
      asked.push(key)
      return data.toString().startsWith('good')
    })
  }
  assert.equal(await a.dht.put('/ask/x', 'good'), 2)
  await assert.rejects(a.dht.put('/ask/y', 'bad'), { code: 'ERR_LIBP2P_PEERS' })
  assert.deepEqual([...new Set(asked)].sort(), ['/ask/x', '/ask/y'])
})

test('the mode changes while the node runs', async (t) => {
  const [, b] = await network(t, 2)
  const changed = next(b, 'dht:mode')
  b.dht.mode = 'client'
  assert.deepEqual(await changed, { serving: false, protocols: [] })
  assert.equal(b.dht.mode, 'client')
  assert.equal(b.dht.info().serving, false)
  assert.throws(() => {
    b.dht.mode = 'off'
  }, /off/)
})

test('off and alone', async (t) => {
  const off = await startNode(t)
  await assert.rejects(off.dht.get('x'), { code: 'ERR_LIBP2P_STATE' })
  assert.throws(() => off.dht.info(), /dht\.mode/)
  const alone = await startNode(t, { dht: { mode: 'server', validators: ['app=accept'] } })
  await assert.rejects(alone.dht.put('/app/x', '1'), { code: 'ERR_LIBP2P_PEERS' })
  assert.equal(await alone.dht.put('/app/x', '2', { min_peers: 0 }), 0)
  assert.equal((await alone.dht.get('/app/x')).toString(), '2')
  await assert.rejects(alone.dht.bootstrap(1, { timeout: 50 }), { code: 'ERR_LIBP2P_PEERS' })
  await assert.rejects(alone.dht.findProviders('/x').next(), { code: 'ERR_LIBP2P_PEERS' })
  await assert.rejects(alone.dht.put('/other/x', '1'), /no rule/)
})

test('waiting calls and searches end with their signal and with the node', async (t) => {
  const node = await startNode(t, { dht: { mode: 'server' } })
  const abort = new AbortController()
  const cancelled = node.dht.bootstrap(1, { signal: abort.signal, timeout: 60_000 })
  abort.abort(new Error('enough'))
  await assert.rejects(cancelled, /enough/)
  const waiting = node.dht.bootstrap(1, { timeout: 60_000 })
  const search = node.dht.findProviders('/x')
  const closed = node.close()
  await assert.rejects(waiting, { code: 'ERR_LIBP2P_CLOSED' })
  await closed
  await within(
    search.next().catch(() => {}),
    'the search to end',
  )
})

test('what is set survives a restart', async (t) => {
  const folder = await workFolder(t)
  const options = {
    identity: join(folder, 'key'),
    dht: { mode: 'server', store: join(folder, 'dht'), validators: ['app=accept'] },
  }
  const first = await startNode(t, options)
  await first.dht.set('name', 'kept', { min_peers: 0 })
  await first.dht.put('/app/x', 'stored', { min_peers: 0 })
  await first.close()
  const again = await startNode(t, options)
  assert.equal(again.id, first.id)
  assert.equal((await again.dht.get('/app/x')).toString(), 'stored')
  const other = await startNode(t, { dht: { mode: 'server' } })
  await other.connect(again.addresses)
  await other.dht.bootstrap()
  await until(() => other.dht.info().routing_tables[0].records === 1, 'the record to be published again')
  assert.equal((await other.dht.get(`${again.id}/name`)).toString(), 'kept')
})
