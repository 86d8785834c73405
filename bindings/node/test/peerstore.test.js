// What a node knows of peers: addresses, signed records, data; in memory and over restarts.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createKey, createNode, openPeerRecord, peerIdOfKey, sealPeerRecord } from 'libp2pgo'
import { assertNoHandles, startNode, startPair, until, workFolder } from './helpers.js'

after(assertNoHandles)

const nobody = '12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA'

test('added addresses lead to the peer', async (t) => {
  const [a, b] = [await startNode(t), await startNode(t)]
  await assert.rejects(a.connect(b.id), { code: 'ERR_LIBP2P_NO_ADDRESS' })
  assert.equal(a.peerstore.add(b.addresses), b.id)
  assert.deepEqual(a.peerstore.known(), [b.id])
  await a.connect(b.id)
  a.peerstore.add(`/ip4/203.0.113.7/tcp/1/p2p/${nobody}`, { ttl: 1 })
  await until(() => a.peerInfo(nobody).addresses.length === 0, 'the address to expire')
  assert.throws(() => a.peerstore.add(nobody), { code: 'ERR_LIBP2P_INVALID' })
  assert.throws(() => a.peerstore.add(b.addresses, { ttl: -5 }), { code: 'ERR_LIBP2P_INVALID' })
})

test('forget leaves nothing', async (t) => {
  const [a, b] = await startPair(t)
  a.peerstore.put(b.id, 'note', 'x')
  assert.throws(() => a.peerstore.forget(b.id), { code: 'ERR_LIBP2P_STATE' })
  a.disconnect(b.id)
  a.peerstore.forget(b.id)
  assert.deepEqual(a.peerstore.known(), [])
  assert.throws(() => a.peerstore.get(b.id, 'note'), { code: 'ERR_LIBP2P_NOT_FOUND' })
  await assert.rejects(a.connect(b.id), { code: 'ERR_LIBP2P_NO_ADDRESS' })
})

test('a directory remembers over restarts, but never the private key', async (t) => {
  const directory = join(await workFolder(t), 'peers')
  const other = await startNode(t)
  const key = createKey()
  const options = { listen: [], peerstore: { directory }, identity: key }
  const first = await createNode(options)
  await first.connect(other.addresses)
  first.peerstore.put(other.id, 'app/state', Buffer.from([0, 1, 255]))
  await assert.rejects(createNode(options), { code: 'ERR_LIBP2P_BUSY', message: /peerstore\.directory/ })
  await first.close()
  const second = await createNode(options)
  assert.deepEqual(second.peerstore.known(), [other.id])
  await second.connect(other.id)
  assert.deepEqual([...second.peerstore.get(other.id, 'app/state')], [0, 1, 255])
  await second.close()
  const files = await Promise.all((await readdir(directory)).map((name) => readFile(join(directory, name))))
  const written = Buffer.concat(files)
  assert.ok(written.includes('/peers/'))
  assert.ok(!written.includes(key.subarray(4, 36))) // behind it is the public key
})

test('signed records travel by hand', async (t) => {
  const [a, b] = [await startNode(t), await startNode(t)]
  const record = b.peerstore.record()
  assert.equal(openPeerRecord(record).peer, b.id)
  assert.equal(a.peerstore.addRecord(record), b.id)
  await a.connect(b.id)
  const key = createKey()
  assert.equal(
    a.peerstore.addRecord(sealPeerRecord(key, ['/ip4/203.0.113.7/tcp/2'], 2n), { ttl: Number.POSITIVE_INFINITY }),
    peerIdOfKey(key),
  )
  assert.equal(a.peerstore.addRecord(sealPeerRecord(key, ['/ip4/203.0.113.7/tcp/1'], 1n)), undefined)
  assert.deepEqual(a.peerInfo(peerIdOfKey(key)).addresses, ['/ip4/203.0.113.7/tcp/2'])
  const forged = Buffer.from(record)
  forged[forged.length - 1] ^= 1
  assert.throws(() => a.peerstore.addRecord(forged), { code: 'ERR_LIBP2P_SECURITY' })
  assert.throws(() => a.peerstore.addRecord(Buffer.from('nonsense')), { code: 'ERR_LIBP2P_PARSE' })
  assert.throws(() => a.peerstore.record(nobody), { code: 'ERR_LIBP2P_NOT_FOUND' })
})
