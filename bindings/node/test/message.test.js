// Framed messages on a stream.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { after, test } from 'node:test'
import { assertNoHandles, collect, next, openPair, standStill, startPair, until, within } from './helpers.js'

after(assertNoHandles)

function later() {
  let resolve
  const promise = new Promise((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

test('messages keep their borders, the empty one too, and end with null', async (t) => {
  const { ours, theirs } = await openPair(t)
  const messages = ['one', '', 'three', 'x'.repeat(100_000)]
  for (const message of messages) await ours.writeMessage(message)
  ours.end()
  const got = []
  for (let m = await theirs.readMessage(); m !== null; m = await theirs.readMessage()) got.push(m.toString())
  assert.deepEqual(got, messages)
  assert.equal(await theirs.readMessage(), null)
})

test('frames() iterates over messages', async (t) => {
  const { ours, theirs } = await openPair(t)
  const messages = Array.from({ length: 2000 }, (_, i) => randomBytes(i % 300))
  const writing = (async () => {
    for (const message of messages) await ours.writeMessage(message)
    ours.end()
  })()
  const got = []
  for await (const message of theirs.frames()) got.push(message)
  await writing
  assert.ok(Buffer.concat(got).equals(Buffer.concat(messages)))
  assert.deepEqual(
    got.map(({ length }) => length),
    messages.map(({ length }) => length),
  )
})

test('frames larger than the default credit pass', async (t) => {
  const { ours, theirs } = await openPair(t)
  const message = randomBytes(900_000)
  for (let i = 0; i < 4; i++) ours.writeMessage(message)
  ours.end()
  let count = 0
  for await (const got of theirs.frames()) {
    assert.ok(got.equals(message))
    count++
  }
  assert.equal(count, 4)
})

test('a slow reader of frames holds the writer back', async (t) => {
  const { ours, theirs } = await openPair(t, '/test/1', { yamux: { window_bytes: 262_144 } })
  const frames = theirs.frames()
  const message = Buffer.alloc(10_000)
  let written = 0
  let held = false
  while (!held && written < 20_000) {
    written++
    held = await Promise.race([
      ours.writeMessage(message).then(() => false),
      new Promise((resolve) => setTimeout(() => resolve(true), 500)),
    ])
  }
  assert.ok(held, 'the writer was never held back')
  ours.end()
  let read = 0
  for await (const got of frames) {
    assert.equal(got.length, message.length)
    read++
  }
  assert.equal(read, written)
})

for (const mode of ['readMessage', 'frames']) {
  test(`${mode}: a message over the limit is an error, the connection lives on`, async (t) => {
    const { a, b, ours, theirs } = await openPair(t)
    ours.on('error', () => {})
    await ours.writeMessage('x'.repeat(101))
    const read = mode === 'frames' ? theirs.frames({ max: 100 }).next() : theirs.readMessage({ max: 100 })
    await assert.rejects(within(read, 'the rejection'), { name: 'TooBigError', code: 'ERR_LIBP2P_TOO_BIG' })
    assert.ok((await a.ping(b.id)) > 0)
  })

  test(`${mode}: a reset is told`, async (t) => {
    const { ours, theirs } = await openPair(t)
    const read = mode === 'frames' ? theirs.frames().next() : theirs.readMessage()
    const rejected = assert.rejects(read, { code: 'ERR_LIBP2P_RESET', reason: 9 })
    ours.reset(9)
    await within(rejected, 'the rejection')
  })
}

const closings = {
  'closing the node': ({ a }) => a.close(),
  'destroy()': ({ ours }) => ours.destroy(),
  'reset()': ({ ours }) => ours.reset(),
}

for (const [how, close] of Object.entries(closings)) {
  test(`${how} is no end of the messages`, async (t) => {
    const closed = { code: 'ERR_LIBP2P_CLOSED' }
    for (const waits of [false, true]) {
      const pair = await openPair(t)
      await pair.theirs.writeMessage('first of two')
      assert.equal((await pair.ours.readMessage()).toString(), 'first of two')
      const waiting = waits ? assert.rejects(within(pair.ours.readMessage(), 'the failure'), closed) : undefined
      await close(pair)
      await waiting
      await assert.rejects(within(pair.ours.readMessage(), 'the failure'), closed)
    }
    for (const waits of [false, true]) {
      const pair = await openPair(t)
      const frames = pair.ours.frames()
      await pair.theirs.writeMessage('first of two')
      assert.equal((await frames.next()).value.toString(), 'first of two')
      const waiting = waits ? assert.rejects(within(frames.next(), 'the failure'), closed) : undefined
      await close(pair)
      if (waits) await waiting
      else await assert.rejects(within(frames.next(), 'the failure'), closed)
      assert.throws(() => pair.ours.frames(), { code: /^ERR_LIBP2P_(CLOSED|STATE)$/ })
    }
    const pair = await openPair(t)
    await close(pair)
    assert.throws(() => pair.ours.frames(), closed)
  })
}

test('a reset that a write met is no end of the messages', async (t) => {
  const { ours, theirs } = await openPair(t)
  theirs.reset(4)
  const writing = async () => {
    for (;;) await ours.writeMessage('x')
  }
  await assert.rejects(within(writing(), 'the failure'), { code: 'ERR_LIBP2P_RESET' })
  await assert.rejects(within(ours.readMessage(), 'the failure'), { code: 'ERR_LIBP2P_RESET', reason: 4 })
})

test('after their end there are no messages, and that is told each time', async (t) => {
  const { ours, theirs } = await openPair(t)
  theirs.end()
  assert.equal(await within(ours.readMessage(), 'the end'), null)
  assert.equal((await within(ours.frames().next(), 'the end')).done, true)
  ours.destroy()
  assert.equal(await within(ours.readMessage(), 'the end'), null)
  assert.equal((await within(ours.frames().next(), 'the end')).done, true)
  theirs.closeRead()
  assert.equal((await within(theirs.frames().next(), 'the end')).done, true)
})

test('leaving a loop over frames() destroys the stream, and ends the loop', async (t) => {
  const { ours, theirs } = await openPair(t)
  await theirs.writeMessage('one')
  const frames = ours.frames()
  for await (const _ of frames) break
  assert.equal(ours.destroyed, true)
  assert.equal((await frames.next()).done, true)
})

test('closeRead() ends frames() and throws away a message that waits; writing goes on', async (t) => {
  const { ours, theirs } = await openPair(t)
  const frames = theirs.frames()
  ours.writeMessage('one')
  assert.equal((await within(frames.next(), 'the message')).value.toString(), 'one')
  await new Promise((resolve) => setImmediate(resolve))
  ours.writeMessage('two')
  standStill(1)
  theirs.closeRead()
  assert.equal((await frames.next()).done, true)
  await until(() => theirs.readableEnded, 'the end of the reading')
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await frames.next()).done, true)
  await theirs.writeMessage('answer')
  assert.equal((await within(ours.readMessage(), 'the answer')).toString(), 'answer')
})

test('an aborted read loses nothing', async (t) => {
  const { ours, theirs } = await openPair(t)
  const abort = new AbortController()
  const read = theirs.readMessage({ signal: abort.signal })
  abort.abort(new Error('later'))
  await assert.rejects(read, { message: 'later' })
  await assert.rejects(theirs.readMessage({ timeout: 20 }), { code: 'ERR_LIBP2P_TIMEOUT' })
  await ours.writeMessage('here')
  assert.equal((await within(theirs.readMessage(), 'the message')).toString(), 'here')
})

test('an abort that meets the message loses nothing', async (t) => {
  const { ours, theirs } = await openPair(t)
  for (let i = 0; i < 20; i++) {
    const abort = new AbortController()
    const read = theirs.readMessage({ signal: abort.signal })
    await new Promise((resolve) => setImmediate(resolve))
    ours.writeMessage(`message ${i}`)
    standStill(1)
    abort.abort(new Error('later'))
    await assert.rejects(read, { message: 'later' })
    const got = await within(theirs.readMessage(), 'the message')
    assert.equal(got.toString(), `message ${i}`)
  }
})

test('an abort that meets the end of the flow loses nothing', async (t) => {
  const { ours, theirs } = await openPair(t)
  const abort = new AbortController()
  const read = theirs.readMessage({ signal: abort.signal })
  ours.end()
  await new Promise((resolve) => setImmediate(resolve))
  standStill(1)
  abort.abort(new Error('later'))
  await assert.rejects(read, { message: 'later' })
  assert.equal(await within(theirs.readMessage(), 'the end'), null)
})

test('bytes and messages on one stream go out in the order of the calls', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.write('ab')
  ours.writeMessage('cd')
  ours.end('ef')
  assert.equal((await collect(theirs)).toString(), 'ab\x02cdef')
})

test('a stream is read in one way', async (t) => {
  const { ours, theirs } = await openPair(t)
  theirs.read(0)
  await assert.rejects(theirs.readMessage(), { code: 'ERR_LIBP2P_STATE' })
  assert.throws(() => theirs.frames(), { code: 'ERR_LIBP2P_STATE' })
  assert.throws(() => theirs.detach(), { code: 'ERR_LIBP2P_STATE' })
  ours.frames()
  assert.throws(() => ours.frames(), { code: 'ERR_LIBP2P_STATE' })
})

for (const how of ['behind a write that waits', 'corked']) {
  test(`20,000 small messages ${how} go out`, async (t) => {
    const { ours, theirs } = await openPair(t)
    const writes = []
    // Larger than what the peer's side takes before it is read.
    if (how === 'corked') ours.cork()
    else writes.push(ours.writeMessage(Buffer.alloc(4 * 1024 * 1024)))
    for (let i = 0; i < 20_000; i++) writes.push(ours.writeMessage(`${i}`))
    ours.uncork()
    ours.end()
    const got = []
    for await (const message of theirs.frames({ max: 4 * 1024 * 1024 })) if (message.length < 10) got.push(message)
    await within(Promise.all(writes), 'the writes')
    assert.deepEqual(got.map(String), Array.from({ length: 20_000 }, (_, i) => String(i)))
  })
}

test('a message to a peer that reset fails its promise and no more', async (t) => {
  const { ours, theirs } = await openPair(t)
  theirs.reset(1)
  await assert.rejects(
    within(
      (async () => {
        for (;;) {
          await ours.writeMessage('x')
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      })(),
      'the rejection',
    ),
    (error) => error.code === 'ERR_LIBP2P_RESET' || error.code === 'ERR_STREAM_DESTROYED',
  )
})

test('detach() gives a socket that ends and half-closes', async (t) => {
  const { ours, theirs } = await openPair(t)
  const socket = theirs.detach()
  ours.end('question')
  assert.equal((await collect(socket.iterator({ destroyOnReturn: false }))).toString(), 'question')
  socket.end('answer')
  assert.equal((await within(collect(ours), 'the answer')).toString(), 'answer')
})

test('a detached stream outlives its handler and follows its socket', async (t) => {
  const [a, b] = await startPair(t)
  const bytes = randomBytes(8 * 1024 * 1024)
  b.handle('/send/1', async (stream) => {
    stream.detach().end(bytes)
  })
  b.handle('/echo/1', async (stream) => {
    const socket = stream.detach()
    await pipeline(socket, socket)
  })
  for (const protocol of ['/send/1', '/echo/1']) {
    const stream = await a.open(b.id, protocol)
    const answer = collect(stream)
    stream.end(protocol === '/echo/1' ? bytes : undefined)
    assert.ok((await within(answer, `the whole answer of ${protocol}`, 30_000)).equals(bytes))
  }
})

for (const how of ['its handler throws', 'its socket is destroyed with an error', 'it is destroyed itself']) {
  test(`a detached stream is reset when ${how}`, async (t) => {
    const [a, b] = await startPair(t)
    b.on('error:handler', () => {})
    const { promise, resolve: arrive } = later()
    b.handle('/half/1', async (stream) => {
      const socket = stream.detach()
      socket.on('error', () => {})
      socket.write('half')
      await promise
      if (how === 'its handler throws') throw new Error('my mistake')
      if (how === 'it is destroyed itself') stream.destroy()
      else socket.destroy(new Error('the source is gone'))
    })
    const stream = await a.open(b.id, '/half/1')
    stream.on('end', () => assert.fail('half an answer ended as a whole one'))
    const failed = next(stream, 'error')
    stream.write('question')
    await next(stream, 'data')
    arrive()
    assert.equal((await failed).code, 'ERR_LIBP2P_RESET')
  })
}

test('only the socket of a detached stream can end its flow', async (t) => {
  const { ours, theirs } = await openPair(t)
  const socket = theirs.detach()
  socket.on('error', () => {})
  const failed = next(theirs, 'error')
  const heard = next(ours, 'error')
  ours.resume()
  theirs.end()
  assert.equal((await failed).code, 'ERR_LIBP2P_STATE')
  assert.equal((await heard).code, 'ERR_LIBP2P_RESET')
})

test('detach(): a reset is not an end', async (t) => {
  const { ours, theirs } = await openPair(t)
  const socket = theirs.detach()
  socket.resume()
  const failed = next(socket, 'error')
  ours.reset(5)
  assert.equal((await failed).code, 'ERR_LIBP2P_RESET')
})
