// Pubsub beyond topics: batches, scores, blocked and direct peers, traces, routers.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import { createNode } from 'libp2pgo'
import { assertNoHandles, next, startNode, startPair, until, within, workFolder } from './helpers.js'

after(assertNoHandles)

const pubsub = { heartbeat_ms: 100 }
const scored = { ...pubsub, score: { enabled: true, inspect_ms: 100 } }

test('many in one call arrive, and each result is told', async (t) => {
  const [a, b] = await startPair(t, { pubsub: { max_message_size: 1000 } })
  const topic = a.join('news')
  const subscription = b.subscribe('news')
  const missing = new Set(Array.from({ length: 500 }, (_, i) => String(i)))
  const results = await topic.publishMany([...missing, Buffer.alloc(2000), ''], { minPeers: 1 })
  assert.equal(results.length, 502)
  assert.equal(results[500].code, 'ERR_LIBP2P_TOO_BIG')
  assert.deepEqual(new Set(results.filter((result) => typeof result === 'number')), new Set([1]))
  missing.add('')
  while (missing.size > 0) {
    const { value } = await within(subscription.next(), `the last ${missing.size}`)
    assert.ok(missing.delete(value.data.toString()), `${value.data} came twice`)
  }
  assert.deepEqual(await topic.publishMany([]), [])
  await assert.rejects(topic.publishMany([7]), { code: 'ERR_LIBP2P_INVALID' })
})

test('many wait for peers, fail one by one, and end with a signal', async (t) => {
  const node = await startNode(t, { listen: [] })
  const topic = node.join('lonely')
  const [failed] = await topic.publishMany(['x'], { minPeers: 1, timeout: 50 })
  assert.equal(failed.code, 'ERR_LIBP2P_PEERS')
  const signal = AbortSignal.timeout(20)
  await assert.rejects(topic.publishMany(['x'], { minPeers: 1, signal }), { name: 'TimeoutError' })
})

for (const router of ['gossipsub', 'floodsub', 'randomsub']) {
  test(`${router} carries messages under names of its own`, async (t) => {
    const [a, b] = await startPair(t, { pubsub: { router, protocol_prefix: '/own' } })
    const subscription = b.subscribe('news')
    assert.equal(await a.publish('news', 'x', { minPeers: 1 }), 1)
    assert.equal((await within(subscription.next(), 'the message')).value.data.toString(), 'x')
    const info = a.pubsub.info()
    assert.equal(info.router, router)
    assert.deepEqual(Object.keys(info.peers), [b.id])
    assert.match(info.protocols[0], /^\/own\//)
  })
}

test('the mesh is told', async (t) => {
  const [a, b] = await startPair(t, { pubsub })
  a.subscribe('news')
  b.subscribe('news')
  await until(() => a.pubsub.info().mesh.news?.includes(b.id), 'the mesh')
})

test('a flood of invalid messages is cut off, and pardoned', async (t) => {
  const [a, b] = await startPair(t, { pubsub: scored })
  const topic = a.join('news', { max_size: 10 })
  const subscription = topic.subscribe()
  await b.publish('news', 'well', { minPeers: 1 })
  assert.equal((await within(subscription.next(), 'the message')).value.data.toString(), 'well')
  const gray = next(a, 'pubsub:graylist')
  for (let i = 0; i < 50; i++) await b.publish('news', `much too long ${i}`)
  const { peer, score } = await gray
  assert.equal(peer, b.id)
  assert.ok(score < -100)
  assert.equal(a.pubsub.info().scores[b.id].graylisted, true)
  const received = a.pubsub.trace({ events: ['receive'] })
  await b.publish('news', 'not heard')
  await within(
    (async () => {
      for await (const event of received) if (event.messages?.some((message) => message.size === 9)) return
    })(),
    'it to come, and to be thrown away',
  )
  const pardon = next(a, 'pubsub:pardon')
  topic.setScore({ invalid_messages_weight: 0 })
  assert.equal((await pardon).peer, b.id)
  await b.publish('news', 'heard')
  assert.equal((await within(subscription.next(), 'the message')).value.data.toString(), 'heard')
})

test("the program's own score counts, where peers are scored", async (t) => {
  const [a, b] = await startPair(t, { pubsub: scored })
  a.pubsub.setScore(b.id, -7)
  await until(() => a.pubsub.info().scores[b.id]?.app === -7, 'the score')
  assert.throws(() => a.pubsub.setScore(b.id, 0.5), { code: 'ERR_LIBP2P_INVALID' })
  const plain = await startNode(t, { listen: [] })
  assert.throws(() => plain.pubsub.setScore(b.id, 1), { code: 'ERR_LIBP2P_STATE' })
  assert.throws(() => plain.join('x', { score: { weight: 2 } }), { code: 'ERR_LIBP2P_CONFIG', path: 'score' })
})

test('a blocked peer is gone, and comes back', async (t) => {
  const [a, b] = await startPair(t, { pubsub })
  const topic = a.join('news')
  const subscription = topic.subscribe()
  const theirs = b.join('news')
  theirs.subscribe()
  await until(() => topic.peers().includes(b.id), 'the peer')
  a.pubsub.block(b.id)
  assert.deepEqual(a.pubsub.info().blocked, [b.id])
  await until(() => topic.peers().length === 0, 'the peer to be gone')
  a.pubsub.unblock(b.id)
  await until(() => topic.peers().includes(b.id) && theirs.peers().includes(a.id), 'the peer to be back')
  await theirs.publish('back', { minPeers: 1 })
  assert.equal((await within(subscription.next(), 'the message')).value.data.toString(), 'back')
  assert.throws(() => a.pubsub.unblock(b.id), { code: 'ERR_LIBP2P_NOT_FOUND' })
})

test('direct peers', async (t) => {
  const [a, b] = await startPair(t, { pubsub })
  a.pubsub.addDirect(b.addresses)
  b.pubsub.addDirect(a.id)
  assert.deepEqual(a.pubsub.info().direct, [b.id])
  const subscription = b.subscribe('news')
  await a.publish('news', 'x', { minPeers: 1 })
  await within(subscription.next(), 'the message')
  a.pubsub.removeDirect(b.id)
  assert.throws(() => a.pubsub.removeDirect(b.id), { code: 'ERR_LIBP2P_NOT_FOUND' })
})

test('relay, fanout only, and ids by content', async (t) => {
  const [a, b] = await startPair(t, { pubsub })
  const relay = b.join('news', { relay: true, message_id: 'content' })
  const topic = a.join('news', { fanout_only: true, message_id: 'content' })
  assert.equal(await topic.publish('same', { minPeers: 1 }), 1)
  assert.equal(await topic.publish('same'), 0)
  await until(() => relay.info().delivered === 1, 'the relay to have it')
})

test('a trace is iterated over, or written to a file', async (t) => {
  const [a, b] = await startPair(t, { pubsub })
  b.subscribe('news')
  const file = join(await workFolder(t), 'trace.jsonl')
  const filed = b.pubsub.trace({ file })
  const trace = a.pubsub.trace({ events: ['publish'], topics: ['news'] })
  await a.publish('news', 'traced', { minPeers: 1 })
  const { value } = await within(trace.next(), 'the event')
  assert.deepEqual([value.type, value.topic, value.size, value.peers], ['publish', 'news', 6, 1])
  await until(async () => {
    const lines = (await readFile(file, 'utf8')).split('\n').slice(0, -1)
    return lines.map((line) => JSON.parse(line)).some((line) => line.type === 'deliver' && line.id === value.id)
  }, 'the file')
  assert.equal(filed.info().file, file)
  const waiting = trace.next()
  trace.close()
  assert.equal((await within(waiting, 'the end')).done, true)
  assert.match(inspect(trace), /closed/)
  assert.throws(() => a.pubsub.trace({ events: ['everything'] }), { code: 'ERR_LIBP2P_CONFIG' })
  const open = a.pubsub.trace()
  const reading = (async () => {
    for await (const _ of open);
  })()
  await a.close()
  await within(reading, 'the end')
})

test('options that do not go together name both', async () => {
  await assert.rejects(createNode({ listen: [], pubsub: { router: 'floodsub', peer_exchange: true } }), {
    code: 'ERR_LIBP2P_CONFIG',
    path: 'pubsub.peer_exchange',
  })
})
