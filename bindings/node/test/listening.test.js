// Where a running node listens, and which addresses it tells.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { assertNoHandles, next, startNode, until } from './helpers.js'

after(assertNoHandles)

const tcp = '/ip4/127.0.0.1/tcp/0'
const quic = '/ip4/127.0.0.1/udp/0/quic-v1'

test('listen binds more addresses, unlisten gives them back', async (t) => {
  const node = await startNode(t, { listen: [] })
  const other = await startNode(t, { listen: [] })
  const changed = next(node, 'self:peer:update')
  const bound = node.listen([tcp, quic])
  assert.equal(bound.length, 2)
  assert.ok((await changed).addresses.length > 0)
  for (const address of bound) {
    assert.equal(await other.connect(`${address}/p2p/${node.id}`), node.id)
    other.disconnect(node.id)
  }
  node.unlisten(bound)
  await until(() => node.addresses.length === 0, 'the addresses to go')
  assert.throws(() => node.unlisten(bound[0]), { code: 'ERR_LIBP2P_NOT_FOUND' })
})

test('listen is all or nothing', async (t) => {
  const first = await startNode(t)
  const node = await startNode(t, { listen: [] })
  const [taken] = first.addresses[0].split('/p2p/')
  assert.throws(() => node.listen([tcp, taken]), { code: 'ERR_LIBP2P_LISTEN', message: new RegExp(taken) })
  await until(() => node.addresses.length === 0, 'the other address to go')
})

test('announce changes what peers are told', async (t) => {
  const node = await startNode(t, { addresses: { append: ['/ip4/203.0.113.7/tcp/1'] } })
  assert.ok(node.addresses.some((address) => address.startsWith('/ip4/203.0.113.7/tcp/1/p2p/')))
  node.announce({ hide: ['127.0.0.0/8'] })
  assert.equal(node.addresses.length, 1)
  node.announce({ announce: ['/dns4/a.example/tcp/443/wss'], append: [] })
  assert.deepEqual(node.addresses, [`/dns4/a.example/tcp/443/wss/p2p/${node.id}`])
  assert.throws(() => node.announce({ hide: ['nonsense'] }), { code: 'ERR_LIBP2P_CONFIG', message: /hide\[0\]/ })
})
