// Topics, subscriptions, rules and verdicts.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import { createKey, peerIdOfKey } from 'libp2pgo'
import { assertNoHandles, next, startNode, startPair, until, within } from './helpers.js'

after(assertNoHandles)

const pubsub = { heartbeat_ms: 100 }

/** Two nodes that are in each other's topic. */
async function meet(t, name, { rules, options } = {}) {
  const [a, b] = await startPair(t, { pubsub, ...options })
  const topics = [a.join(name), b.join(name, rules)]
  const subscription = topics[1].subscribe()
  await until(() => topics[0].peers().includes(b.id), 'the subscription to be known')
  return { a, b, topics, subscription }
}

test('a message arrives with all that is known of it', async (t) => {
  const { a, topics, subscription } = await meet(t, 'früchte')
  assert.equal(await topics[0].publish('apple', { minPeers: 1 }), 1)
  const { value: message } = await within(subscription.next(), 'the message')
  assert.equal(message.data.toString(), 'apple')
  assert.ok(Buffer.isBuffer(message.data))
  assert.equal(message.author, a.id)
  assert.equal(message.receivedFrom, a.id)
  assert.equal(message.topic, 'früchte')
  assert.match(message.id, /^[0-9a-f]+$/)
  assert.equal(message.signed, true)
  assert.equal(message.local, false)
  assert.equal(typeof message.seq, 'bigint')
  await topics[0].publish('pear', { minPeers: 1 })
  assert.ok((await within(subscription.next(), 'the next')).value.seq > message.seq)
  assert.match(inspect(message), /^Message \{ topic: 'früchte'/)
})

test('own messages come back, marked as local', async (t) => {
  const node = await startNode(t, { listen: [] })
  const topic = node.join('echo')
  const subscription = topic.subscribe()
  assert.equal(await topic.publish(new Uint8Array([1, 2])), 0)
  const { value } = await within(subscription.next(), 'the message')
  assert.deepEqual([...value.data], [1, 2])
  assert.equal(value.local, true)
  assert.equal(value.author, node.id)
})

test('node.publish and node.subscribe join on their own', async (t) => {
  const [a, b] = await startPair(t, { pubsub })
  const subscription = b.subscribe('shared')
  assert.equal(await a.publish('shared', 'x', { minPeers: 1 }), 1)
  for await (const message of subscription) {
    assert.equal(message.data.toString(), 'x')
    break
  }
  assert.throws(() => b.join('shared'), { code: 'ERR_LIBP2P_EXISTS' })
})

test('unsigned messages carry no author', async (t) => {
  const { topics, subscription } = await meet(t, 'plain', { options: { pubsub: { ...pubsub, signing: 'none' } } })
  await topics[0].publish('x', { minPeers: 1 })
  const { value } = await within(subscription.next(), 'the message')
  assert.equal(value.signed, false)
  assert.equal(value.author, '')
})

test('a burst of 10,000 arrives whole', async (t) => {
  const { topics, subscription } = await meet(t, 'burst')
  await topics[0].publish('first', { minPeers: 1 })
  await subscription.next()
  const missing = new Set(Array.from({ length: 10_000 }, (_, i) => String(i)))
  const sending = Promise.all([...missing].map((text) => topics[0].publish(text)))
  while (missing.size > 0) {
    const { value } = await within(subscription.next(), `the last ${missing.size} messages`, 30_000)
    assert.ok(missing.delete(value.data.toString()), `${value.data} came twice`)
  }
  await sending
  assert.equal(subscription.dropped, 0)
})

test('waiting for more peers than come is an error', async (t) => {
  const node = await startNode(t, { listen: [] })
  await assert.rejects(node.publish('lonely', 'x', { minPeers: 1, timeout: 50 }), { code: 'ERR_LIBP2P_PEERS' })
  await assert.rejects(node.publish('lonely', 'x', { minPeers: -1 }), { code: 'ERR_LIBP2P_INVALID' })
})

for (const [overflow, expected] of [
  ['drop_oldest', (got, last) => got.includes(last)],
  ['drop_newest', (got) => got.includes('0')],
]) {
  test(`${overflow}: what does not fit is dropped and counted`, async (t) => {
    const node = await startNode(t, { listen: [] })
    const topic = node.join('small')
    const subscription = topic.subscribe({ capacity: 10, overflow })
    const count = 5000
    for (let i = 0; i < count; i++) topic.publish(Buffer.from(String(i).padEnd(200)))
    await topic.publish('end')
    const got = []
    const rest = async () => {
      for (;;) {
        const message = await Promise.race([
          subscription.next(),
          new Promise((resolve) => setTimeout(() => resolve(undefined), 300)),
        ])
        if (!message) return
        got.push(message.value.data.toString().trim())
      }
    }
    await until(() => subscription.info().dropped > 0, 'something to be dropped')
    await rest()
    assert.ok(subscription.dropped > 0)
    assert.equal(got.length + subscription.dropped, count + 1)
    assert.ok(expected(got, 'end'), `${got[0]} ... ${got.at(-1)}`)
  })
}

test('peers that come and go are told', async (t) => {
  const [a, b] = await startPair(t, { pubsub })
  const topic = a.join('room')
  topic.subscribe()
  const joined = next(topic, 'peer:join')
  const theirs = b.join('room')
  theirs.subscribe()
  assert.equal(await joined, b.id)
  assert.deepEqual(topic.peers(), [b.id])
  const left = next(topic, 'peer:leave')
  theirs.close()
  assert.equal(await left, b.id)
})

test('max_size: a message that breaks the rule is refused', async (t) => {
  const node = await startNode(t, { listen: [] })
  const topic = node.join('short', { max_size: 5 })
  await assert.rejects(topic.publish('123456'), { code: 'ERR_LIBP2P_REJECTED' })
  assert.equal(await topic.publish('12345'), 0)
})

test('signers: only they are heard', async (t) => {
  const key = createKey()
  const { b, topics, subscription } = await meet(t, 'closed', { rules: { signers: [peerIdOfKey(key)] } })
  await topics[0].publish('from a stranger', { minPeers: 1 })
  const author = await startNode(t, { identity: key, pubsub })
  await author.connect(b.addresses)
  await author.publish('closed', 'from the author', { minPeers: 1 })
  const { value } = await within(subscription.next(), 'the message')
  assert.equal(value.data.toString(), 'from the author')
})

test('a validator decides: true, false, a promise, a word', async (t) => {
  const verdicts = {
    yes: true,
    no: false,
    later: Promise.resolve(true),
    rejected: 'reject',
    ignored: 'ignore',
    ok: 'accept',
  }
  const asked = []
  const { topics, subscription } = await meet(t, 'judged', {
    rules: {
      validate: (message) => {
        asked.push(message.data.toString())
        return verdicts[message.data.toString()]
      },
    },
  })
  for (const text of Object.keys(verdicts)) await topics[0].publish(text, { minPeers: 1 })
  const got = []
  for (let i = 0; i < 3; i++) got.push((await within(subscription.next(), 'a message')).value.data.toString())
  assert.deepEqual(got.sort(), ['later', 'ok', 'yes'])
  await until(() => asked.length === 6, 'all to be asked about')
})

test('a validator that never answers: the default holds and is counted', async (t) => {
  const { topics, subscription } = await meet(t, 'silent', {
    rules: { validate: () => new Promise(() => {}), validate_timeout_ms: 50, validate_default: 'accept' },
  })
  await topics[0].publish('x', { minPeers: 1 })
  assert.equal((await within(subscription.next(), 'the message')).value.data.toString(), 'x')
  assert.equal(topics[1].info().verdicts_late, 1)
})

test('a validator that throws is heard of, and the default holds', async (t) => {
  const { topics } = await meet(t, 'broken', {
    rules: {
      validate: () => {
        throw new Error('no idea')
      },
      validate_timeout_ms: 50,
    },
  })
  const heard = next(topics[1], 'error:validate')
  await topics[0].publish('x', { minPeers: 1 })
  assert.equal((await heard).message, 'no idea')
})

test('a subscription ends when it, its topic or its node closes', async (t) => {
  const node = await startNode(t, { listen: [] })
  const one = node.subscribe('ending')
  const waiting = one.next()
  one.close()
  assert.deepEqual(await within(waiting, 'the end'), { value: undefined, done: true })
  const topic = node.join('other')
  const two = topic.subscribe()
  const left = two.next()
  topic.close()
  assert.equal((await within(left, 'the end')).done, true)
  assert.match(inspect(topic), /left/)
  const three = node.subscribe('third')
  const reading = (async () => {
    for await (const _ of three);
  })()
  await node.close()
  await within(reading, 'the end')
  await three[Symbol.asyncDispose]()
})

test('leaving the loop closes the subscription', async (t) => {
  const node = await startNode(t, { listen: [] })
  const topic = node.join('left')
  const subscription = topic.subscribe()
  await topic.publish('x')
  for await (const _ of subscription) break
  assert.match(inspect(subscription), /closed/)
  assert.equal((await subscription.next()).done, true)
})

test('a node without pubsub says so', async (t) => {
  const node = await startNode(t, { listen: [], pubsub: { enabled: false } })
  assert.throws(() => node.join('x'), { code: 'ERR_LIBP2P_STATE' })
})

test('rules and options that are wrong name their path', async (t) => {
  const node = await startNode(t, { listen: [] })
  assert.throws(() => node.join('x', { maximum: 5 }), { code: 'ERR_LIBP2P_CONFIG', path: 'maximum' })
  assert.throws(() => node.join('x', { validate: true }), { code: 'ERR_LIBP2P_INVALID' })
  const topic = node.join('x')
  assert.throws(() => topic.subscribe({ capacity: 0 }), { code: 'ERR_LIBP2P_CONFIG', path: 'capacity' })
})

test('a message that is too big is an error', async (t) => {
  const node = await startNode(t, { listen: [], pubsub: { max_message_size: 1000 } })
  await assert.rejects(node.publish('x', Buffer.alloc(2000)), { code: 'ERR_LIBP2P_TOO_BIG' })
})
