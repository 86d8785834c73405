// Diagnosis: a verdict, each address with outcome and time, and advice.
import assert from 'node:assert/strict'
import net from 'node:net'
import { after, test } from 'node:test'
import { assertNoHandles, startNode, startPair, within } from './helpers.js'

after(assertNoHandles)

const as = (address, id) => `${address.split('/p2p/')[0]}/p2p/${id}`

test('a peer that can be reached, or is connected', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  const found = await a.explain(b.addresses)
  assert.equal(found.verdict, 'reachable')
  assert.deepEqual(
    found.attempts.map(({ outcome, source }) => [outcome, source]),
    [['ok', 'given']],
  )
  assert.deepEqual(found.advice, [])
  assert.equal(found.self.id, a.id)
  assert.match(found.text, /\[reachable\]/)
  await a.connect(b.addresses)
  assert.equal((await a.explain(b.id)).verdict, 'connected')
  assert.equal((await a.explain(a.id)).verdict, 'self')
  await assert.rejects(a.explain('here'), { code: 'ERR_LIBP2P_PARSE' })
})

test('explain has no format: its result is an object, with the text in it', async (t) => {
  const node = await startNode(t, { listen: [] })
  const asked = within(node.explain(node.id, { format: 'text' }), 'the answer')
  await assert.rejects(asked, { code: 'ERR_LIBP2P_CONFIG', path: 'format' })
})

test('each reason has its own verdict', async (t) => {
  const [a, b] = await startPair(t)
  const id = (await startNode(t, { listen: [] })).id
  const [address] = b.addresses
  const verdict = async (node, where, options = {}) =>
    (await node.explain(where, { attempt_ms: 1000, ...options })).verdict
  assert.equal(await verdict(a, id), 'no_address')
  assert.equal(await verdict(a, as('/ip4/127.0.0.1/tcp/1', id)), 'nobody_listens')
  assert.equal(await verdict(a, as(address, id)), 'wrong_peer')
  assert.equal(await verdict(a, address, { protocol: '/nothing/1' }), 'protocol_missing')
  const deaf = await startNode(t, { listen: [], transports: { tcp: false, websocket: false } })
  assert.equal(await verdict(deaf, address), 'transport_off')
  const secret = await startNode(t, { private_network: new Uint8Array(32).fill(7) })
  assert.equal(await verdict(secret, address), 'private_network')
  const silent = net.createServer((socket) => socket.on('error', () => {}))
  await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.after(() => silent.close())
  assert.equal(await verdict(a, as(`/ip4/127.0.0.1/tcp/${silent.address().port}`, id)), 'stuck')
})

test('an explanation is aborted', async (t) => {
  const a = await startNode(t)
  const abort = new AbortController()
  const silent = net.createServer((socket) => {
    socket.on('error', () => {})
    abort.abort()
  })
  await new Promise((resolve) => silent.listen(0, '127.0.0.1', resolve))
  t.after(() => silent.close())
  const where = as(
    `/ip4/127.0.0.1/tcp/${silent.address().port}`,
    '12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA',
  )
  const explained = a.explain(where, { attempt_ms: 60_000, signal: abort.signal })
  await assert.rejects(within(explained, 'the end of the call'), { name: 'AbortError' })
})
