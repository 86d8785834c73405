// Which connections stay when there are too many, and what limits there are.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { createNode } from 'libp2pgo'
import { assertNoHandles, startNode, startPair, until } from './helpers.js'

after(assertNoHandles)

/** A node that is connected to others. */
async function startHub(t, count, options) {
  const hub = await startNode(t, options)
  const others = []
  for (let i = 0; i < count; i++) {
    others.push(await startNode(t))
    await hub.connect(others[i].addresses)
  }
  return { hub, others }
}

test('tags and protection are seen, and outlast the connection', async (t) => {
  const [a, b] = await startPair(t)
  a.connections.tag(b.id, 'friend', 7)
  a.connections.protect(b.id, 'mine')
  a.connections.protect(b.id, 'yours')
  a.disconnect(b.id)
  const known = a.peerInfo(b.id)
  assert.equal(known.tags.friend, 7)
  assert.ok(known.tag_value >= 7)
  assert.deepEqual(known.protected, ['mine', 'yours'])
  assert.equal(a.connections.unprotect(b.id, 'mine'), true)
  assert.equal(a.connections.unprotect(b.id, 'yours'), false)
  assert.throws(() => a.connections.unprotect(b.id, 'yours'), { code: 'ERR_LIBP2P_NOT_FOUND' })
  a.connections.untag(b.id, 'friend')
  assert.throws(() => a.connections.untag(b.id, 'friend'), { code: 'ERR_LIBP2P_NOT_FOUND', message: /friend/ })
  assert.throws(() => a.connections.tag(b.id, 'x', 1.5), { code: 'ERR_LIBP2P_INVALID' })
})

test('trim closes the least useful connections', async (t) => {
  const { hub, others } = await startHub(t, 4, { connections: { grace_ms: 0 } })
  const ids = others.map(({ id }) => id)
  for (const [i, value] of [30, 10, 40, 20].entries()) hub.connections.tag(ids[i], 'value', value)
  hub.connections.protect(ids[1], 'mine')
  assert.equal(await hub.connections.trim(), 0)
  assert.equal(await hub.connections.trim(3), 1)
  await until(() => hub.peers().length === 3 && !hub.peers().includes(ids[3]), 'the least useful to go')
  assert.equal(await hub.connections.trim(1), 2)
  await until(() => hub.peers().join() === ids[1], 'the protected one to be alone')
  await assert.rejects(hub.connections.trim(0, { signal: AbortSignal.abort() }), { name: 'AbortError' })
})

test('watermarks change while it runs', async (t) => {
  const { hub, others } = await startHub(t, 4)
  hub.connections.tag(others[2].id, 'value', 1)
  hub.connections.setWatermarks({ low: 1, high: 2, grace_ms: 0 })
  await until(() => hub.peers().join() === others[2].id, 'trimming to the low watermark')
  assert.deepEqual(hub.limits().watermarks, { low: 1, high: 2, grace_ms: 0 })
  assert.throws(() => hub.connections.setWatermarks({ low: 5 }), { code: 'ERR_LIBP2P_INVALID', message: /low/ })
})

test('exact limits are told in the form in which they are given', async (t) => {
  const exact = { System: { Conns: 77 }, Protocol: { '/x/1': { Streams: 0, Memory: 'unlimited' } } }
  const [a, b] = await startPair(t, { limits: { exact, connection_rate: 3.5 } })
  const { limits, per_ip, usage, refused } = a.limits()
  assert.equal(limits.System.Conns, 77)
  assert.equal(limits.Protocol['/x/1'].Streams, 'blockAll')
  assert.equal(per_ip.connection_rate, 3.5)
  assert.equal(usage.system.connections_outbound, 1)
  assert.ok(b.id in usage.peers)
  assert.equal(refused.stream, 0)
  const again = await startNode(t, { limits: { exact: limits } })
  assert.deepEqual(again.limits().limits, limits)
  await assert.rejects(createNode({ limits: { exact: { System: { Connections: 5 } } } }), {
    code: 'ERR_LIBP2P_CONFIG',
    message: /limits\.exact\.System\.Connections/,
  })
})
