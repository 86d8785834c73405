// Every corner of a Stream as a Duplex of bytes.
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { PassThrough, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { after, test } from 'node:test'
import { inspect } from 'node:util'
import { MessageChannel } from 'node:worker_threads'
import { StreamResetError } from 'libp2pgo'
import { assertNoHandles, collect, next, openPair, standStill, startNode, startPair, until, within } from './helpers.js'

after(assertNoHandles)

test('a stream knows its peer, its protocol and its state', async (t) => {
  const { a, b, ours, theirs } = await openPair(t, '/test/facts/1')
  assert.equal(ours.peer, b.id)
  assert.equal(theirs.peer, a.id)
  assert.equal(ours.protocol, '/test/facts/1')
  assert.equal(theirs.protocol, '/test/facts/1')
  assert.equal(ours.inbound, false)
  assert.equal(theirs.inbound, true)
  assert.equal(
    inspect(ours),
    `Stream { peer: '${b.id}', protocol: '/test/facts/1', state: 'reading open, writing open' }`,
  )
  assert.equal(typeof ours.info(), 'object')
})

test('bytes arrive in order, and end() there is the end here', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.write('one ')
  ours.write(Buffer.from('two '))
  ours.end(new Uint8Array(Buffer.from('three')))
  assert.equal((await within(collect(theirs), 'the end')).toString(), 'one two three')
})

test('half-closed: the answer comes after our end', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.end('question')
  assert.equal((await collect(theirs)).toString(), 'question')
  assert.equal(theirs.destroyed, false)
  theirs.end('answer')
  assert.equal((await within(collect(ours), 'the answer')).toString(), 'answer')
  await until(() => ours.destroyed && theirs.destroyed, 'both streams to close by themselves')
})

test("'end', 'finish' and 'close' come once each, in order, without an error", async (t) => {
  const { ours, theirs } = await openPair(t)
  const seen = []
  for (const name of ['end', 'finish', 'close', 'error']) theirs.on(name, () => seen.push(name))
  theirs.resume()
  ours.end()
  await next(theirs, 'end')
  const closed = next(theirs, 'close')
  theirs.end()
  await closed
  assert.deepEqual(seen, ['end', 'finish', 'close'])
})

test('a stream that was never read still tells its end', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.end()
  theirs.end()
  theirs.resume()
  ours.resume()
  await within(Promise.all([next(ours, 'close'), next(theirs, 'close')]), 'both to close')
})

test('reset with a code is an error there, never an end', async (t) => {
  const { ours, theirs } = await openPair(t)
  const seen = []
  theirs.on('end', () => seen.push('end'))
  theirs.resume()
  const failed = next(theirs, 'error')
  const closed = next(ours, 'close')
  ours.reset(42)
  const error = await failed
  assert.ok(error instanceof StreamResetError)
  assert.equal(error.code, 'ERR_LIBP2P_RESET')
  assert.equal(error.reason, 42)
  assert.deepEqual(seen, [])
  await closed
  assert.equal(theirs.destroyed, true)
})

test('destroy() before the end resets', async (t) => {
  const { ours, theirs } = await openPair(t)
  theirs.resume()
  const failed = next(theirs, 'error')
  ours.write('half a sent')
  ours.destroy()
  assert.equal((await failed).code, 'ERR_LIBP2P_RESET')
})

test('destroy(error) emits it here and resets there', async (t) => {
  const { ours, theirs } = await openPair(t)
  theirs.resume()
  const failed = next(theirs, 'error')
  const own = next(ours, 'error')
  ours.destroy(new Error('mine'))
  assert.equal((await own).message, 'mine')
  assert.equal((await failed).code, 'ERR_LIBP2P_RESET')
})

test('a write after the peer reset fails with the reset', async (t) => {
  const { ours, theirs } = await openPair(t)
  const failed = next(ours, 'error')
  theirs.reset(7)
  const timer = setInterval(() => !ours.destroyed && ours.write('x'), 5)
  try {
    const error = await failed
    assert.equal(error.code, 'ERR_LIBP2P_RESET')
    assert.equal(error.reason, 7)
  } finally {
    clearInterval(timer)
  }
})

test('iterating fails with the reset after the data that came before it', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.write('before')
  const chunks = []
  await assert.rejects(
    within(
      (async () => {
        for await (const chunk of theirs) {
          chunks.push(chunk)
          ours.reset(3)
        }
      })(),
      'the rejection',
    ),
    { code: 'ERR_LIBP2P_RESET', reason: 3 },
  )
  assert.equal(Buffer.concat(chunks).toString(), 'before')
})

test('leaving a for await loop destroys the stream; its end does not', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.write('x')
  for await (const _ of theirs) break
  assert.equal(theirs.destroyed, true)

  const again = await openPair(t)
  again.ours.end('x')
  for await (const _ of again.theirs);
  assert.equal(again.theirs.destroyed, false)
  again.theirs.end('y')
  assert.equal((await collect(again.ours)).toString(), 'y')
})

test('leaving the loop after our end stops a peer that still writes', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.end('question')
  assert.equal((await collect(theirs)).toString(), 'question')
  const failed = next(theirs, 'error')
  // More than the windows on the way take.
  theirs.write(Buffer.alloc(64 * 1024 * 1024))
  for await (const _ of ours) break
  assert.equal((await failed).code, 'ERR_LIBP2P_RESET')
})

test('destroy() after the peer ended lets it keep what it got', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.write('answer')
  theirs.end()
  for await (const _ of ours);
  await until(() => ours.writableLength === 0, 'the write')
  ours.destroy()
  assert.equal((await within(collect(theirs), 'the end')).toString(), 'answer')
})

test('a naive echo loses nothing', async (t) => {
  const [a, b] = await startPair(t)
  b.handle('/echo/1', async (stream) => {
    for await (const chunk of stream) stream.write(chunk)
  })
  const stream = await a.open(b.id, '/echo/1')
  const bytes = randomBytes(8 * 1024 * 1024)
  const echo = collect(stream)
  stream.end(bytes)
  assert.ok((await within(echo, 'the echo', 30_000)).equals(bytes))
})

test('pipeline(stream, stream) echoes', async (t) => {
  const [a, b] = await startPair(t)
  b.handle('/echo/1', (stream) => pipeline(stream, stream))
  const stream = await a.open(b.id, '/echo/1')
  const bytes = randomBytes(1024 * 1024)
  const echo = collect(stream)
  await pipeline(Readable.from([bytes]), stream, { end: true }).catch(() => {})
  assert.ok((await within(echo, 'the echo')).equals(bytes))
})

test('64 MiB arrive as they were sent', async (t) => {
  const { ours, theirs } = await openPair(t)
  const chunk = randomBytes(64 * 1024)
  const sent = createHash('sha256')
  const received = createHash('sha256')
  const reading = (async () => {
    for await (const part of theirs) received.update(part)
  })()
  await pipeline(
    async function* () {
      for (let i = 0; i < 1024; i++) {
        sent.update(chunk)
        yield chunk
      }
    },
    ours,
    { end: true },
  ).catch((error) => {
    if (error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
  })
  await within(reading, 'the end', 60_000)
  assert.equal(received.digest('hex'), sent.digest('hex'))
})

test('the memory of a chunk cannot be given away: others lie in it too', async (t) => {
  const { ours, theirs } = await openPair(t)
  const bytes = randomBytes(4 * 1024 * 1024)
  const chunks = []
  theirs.on('data', (chunk) => chunks.push(chunk))
  ours.end(bytes)
  await next(theirs, 'end')
  const { port1 } = new MessageChannel()
  for (const chunk of chunks) {
    try {
      port1.postMessage(chunk, [chunk.buffer])
    } catch (error) {
      assert.equal(error.name, 'DataCloneError') // Node.js 20 sends a copy instead
    }
  }
  port1.close()
  assert.ok(Buffer.concat(chunks).equals(bytes))
})

test('many small writes arrive whole', async (t) => {
  const { ours, theirs } = await openPair(t)
  const reading = collect(theirs)
  let expected = ''
  for (let i = 0; i < 10_000; i++) {
    ours.write(`${i},`)
    expected += `${i},`
  }
  ours.end()
  assert.equal((await within(reading, 'the end')).toString(), expected)
})

test('a reader that stops holds the writer back, and memory stays bounded', async (t) => {
  const { ours, theirs } = await openPair(t, '/test/1', { yamux: { window_bytes: 262_144 } })
  const chunk = Buffer.alloc(64 * 1024)
  let written = 0
  let held = false
  while (!held && written < 256 * 1024 * 1024) {
    written += chunk.length
    if (!ours.write(chunk)) {
      held = await Promise.race([
        new Promise((resolve) => ours.once('drain', () => resolve(false))),
        new Promise((resolve) => setTimeout(() => resolve(true), 500)),
      ])
    }
  }
  assert.ok(held, 'the writer was never held back')
  assert.ok(written < 16 * 1024 * 1024, `${written} bytes were taken`)
  const reading = collect(theirs)
  ours.end()
  assert.equal((await within(reading, 'the rest')).length, written)
})

test('pause() stops data, resume() continues', async (t) => {
  const { ours, theirs } = await openPair(t)
  let bytes = 0
  theirs.on('data', (chunk) => {
    bytes += chunk.length
    theirs.pause()
  })
  for (let i = 0; i < 100; i++) ours.write(Buffer.alloc(65_536))
  ours.end()
  let pauses = 0
  const ended = next(theirs, 'end', 20_000)
  const timer = setInterval(() => {
    if (theirs.isPaused()) {
      pauses++
      theirs.resume()
    }
  }, 1)
  await ended
  clearInterval(timer)
  assert.equal(bytes, 100 * 65_536)
  assert.ok(pauses > 1)
})

test("'readable' and read(n) work", async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.end('abcdef')
  const parts = []
  theirs.on('readable', () => {
    for (let part = theirs.read(2); part !== null; part = theirs.read(2)) parts.push(part.toString())
  })
  await next(theirs, 'end')
  assert.deepEqual(parts, ['ab', 'cd', 'ef'])
})

test('setEncoding and pipe work', async (t) => {
  const { ours, theirs } = await openPair(t)
  const through = new PassThrough()
  theirs.pipe(through)
  through.setEncoding('utf8')
  ours.end('grüße')
  let text = ''
  for await (const part of through) text += part
  assert.equal(text, 'grüße')
})

test('closeRead() throws the rest away, writing goes on', async (t) => {
  const { ours, theirs } = await openPair(t)
  theirs.closeRead()
  ours.write('into the void')
  theirs.end('still here')
  assert.equal((await within(collect(ours), 'the text')).toString(), 'still here')
})

const turn = () => new Promise((resolve) => setImmediate(resolve))

for (const waits of [true, false]) {
  test(`closeRead() after reading leaves the answer its way${waits ? ', data that waits being thrown away' : ''}`, async (t) => {
    const { ours, theirs } = await openPair(t)
    ours.write('one')
    await next(theirs, 'data')
    await turn()
    if (waits) {
      ours.write('two')
      standStill(1)
    }
    theirs.closeRead()
    // What the library tells of the end of the reading.
    standStill(1)
    await turn()
    theirs.end('answer')
    assert.equal((await within(collect(ours), 'the answer')).toString(), 'answer')
  })
}

test('a handler that has not read all still sends its whole answer', async (t) => {
  const [a, b] = await startPair(t)
  const answer = Buffer.alloc(1024 * 1024)
  let asker
  b.handle('/first/1', async (stream) => {
    await next(stream, 'data')
    await turn()
    asker.write('more')
    standStill(1)
    stream.end(answer)
  })
  asker = await a.open(b.id, '/first/1')
  asker.write('question')
  assert.equal((await within(collect(asker), 'the answer')).length, answer.length)
})

test('a reset that waits at closeRead() is told', async (t) => {
  const { ours, theirs } = await openPair(t)
  ours.write('one')
  await next(theirs, 'data')
  await turn()
  const failed = next(theirs, 'error')
  ours.reset(5)
  standStill(1)
  theirs.closeRead()
  assert.equal((await failed).reason, 5)
})

test('a read deadline ends the stream with a timeout', async (t) => {
  const { ours } = await openPair(t)
  ours.resume()
  const failed = next(ours, 'error')
  ours.setDeadline({ read: 50 })
  assert.equal((await failed).code, 'ERR_LIBP2P_TIMEOUT')
  assert.throws(() => ours.setDeadline({ read: -5 }), { code: 'ERR_LIBP2P_INVALID' })
})

test('a read deadline is no end for the peer', async (t) => {
  const { ours, theirs } = await openPair(t)
  theirs.on('end', () => assert.fail('half a file ended as a whole one'))
  const heard = next(theirs, 'error')
  ours.resume()
  ours.write('half')
  await next(theirs, 'data')
  const failed = next(ours, 'error')
  ours.setDeadline({ read: 1 })
  assert.equal((await failed).code, 'ERR_LIBP2P_TIMEOUT')
  assert.equal((await heard).code, 'ERR_LIBP2P_RESET')
})

test('the first protocol that the peer speaks is taken', async (t) => {
  const [a, b] = await startPair(t)
  b.handle(['/chat/1', '/chat/0'], async () => {})
  const stream = await a.open(b.id, ['/chat/2', '/chat/1'])
  assert.equal(stream.protocol, '/chat/1')
  stream.destroy()
  await assert.rejects(a.open(b.id, '/nothing/1'), {
    name: 'UnsupportedProtocolError',
    code: 'ERR_LIBP2P_PROTOCOL',
  })
})

test('a name that ends in * serves all with that prefix', async (t) => {
  const [a, b] = await startPair(t)
  b.handle('/files/*', async (stream) => {
    stream.end(stream.protocol)
  })
  const stream = await a.open(b.id, '/files/readme/1')
  stream.end()
  assert.equal((await collect(stream)).toString(), '/files/readme/1')
})

/** How opening a stream that nobody serves, or whose handler fails at once, ends: the failure meets the opening or the stream. */
async function failureOf(node, peer, protocol) {
  const opening = node.open(peer, protocol).then((stream) => {
    const failed = next(stream, 'error')
    stream.resume()
    return failed
  })
  return opening.catch((error) => error)
}

test('unhandle stops serving, and a name is served once', async (t) => {
  const [a, b] = await startPair(t)
  const service = b.handle('/once/1', async () => {})
  assert.deepEqual(service.protocols, ['/once/1'])
  assert.throws(() => b.handle('/once/1', async () => {}), { code: 'ERR_LIBP2P_EXISTS' })
  b.unhandle('/once/1')
  assert.equal((await failureOf(a, b.id, '/once/1')).code, 'ERR_LIBP2P_PROTOCOL') // at once, or at the first read if the news are not there yet
  b.handle('/once/1', async () => {})
  const stream = await a.open(b.id, '/once/1')
  stream.destroy()
})

test('a handler that throws resets its stream and is heard of', async (t) => {
  const [a, b] = await startPair(t)
  b.handle('/bad/1', async () => {
    throw new Error('my mistake')
  })
  const heard = next(b, 'error:handler')
  assert.equal((await failureOf(a, b.id, '/bad/1')).code, 'ERR_LIBP2P_RESET')
  assert.equal((await heard).message, 'my mistake')
})

test('a handler that throws after half its answer resets its stream, the question being read', async (t) => {
  const [a, b] = await startPair(t)
  b.on('error:handler', () => {})
  let fail
  const arrived = new Promise((resolve) => {
    fail = resolve
  })
  b.handle('/half/1', async (stream) => {
    await collect(stream.iterator({ destroyOnReturn: false }))
    stream.write('half')
    await arrived
    throw new Error('my mistake')
  })
  const stream = await a.open(b.id, '/half/1')
  stream.on('end', () => assert.fail('half an answer ended as a whole one'))
  const failed = next(stream, 'error')
  stream.end('question')
  await next(stream, 'data')
  fail()
  assert.equal((await failed).code, 'ERR_LIBP2P_RESET')
})

test('a handler that nobody listens to is warned of', async (t) => {
  const [a, b] = await startPair(t)
  b.handle('/bad/1', async () => {
    throw new Error('my mistake')
  })
  const warned = next(process, 'warning')
  await failureOf(a, b.id, '/bad/1')
  assert.match((await warned).message, /\/bad\/1.*my mistake/)
})

test('more streams than the service takes are reset', async (t) => {
  const [a, b] = await startPair(t)
  const came = new Promise((resolve) => b.handle('/few/1', resolve, { max_streams: 1 }))
  const first = await a.open(b.id, '/few/1')
  first.write('x')
  await came
  const failed = a.open(b.id, '/few/1').then((stream) => {
    stream.resume()
    stream.write('x')
    return next(stream, 'error')
  })
  const error = await failed.catch((reason) => reason)
  assert.equal(error.code, 'ERR_LIBP2P_RESET')
  assert.equal(error.reason, 0x1002)
  first.destroy()
})

test('opening can be aborted, and a stream that came too late is closed', async (t) => {
  const [a, b] = await startPair(t)
  b.handle('/slow/1', () => {})
  const abort = new AbortController()
  const open = a.open(b.id, '/slow/1', { signal: abort.signal })
  abort.abort(new Error('no longer'))
  await assert.rejects(open, { message: 'no longer' })
  await assert.rejects(a.open(b.id, '/slow/1', { signal: abort.signal }), { message: 'no longer' })
})

test('no_dial refuses to connect', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  b.handle('/x/1', async (stream) => stream.end('x'))
  const [address] = b.addresses
  for (const peer of [b.id, address]) {
    await assert.rejects(a.open(peer, '/x/1', { no_dial: true }), { code: 'ERR_LIBP2P_STATE', message: /not connected/ })
  }
  assert.deepEqual(a.peers(), [])
  await a.connect(address)
  const stream = await a.open(address, '/x/1', { no_dial: true })
  assert.equal(stream.peer, b.id)
  assert.equal((await collect(stream)).toString(), 'x')
  const nameless = address.split('/p2p/')[0]
  for (const wrong of [nameless, '/ip4/here']) {
    await assert.rejects(a.open(wrong, '/x/1', { no_dial: true }), (error) => {
      return error.code === 'ERR_LIBP2P_PARSE' && error.message.includes(wrong)
    })
  }
})

test('closing the node destroys its streams, a write that waits fails', async (t) => {
  const { a, ours, theirs } = await openPair(t)
  const gone = next(theirs, 'error')
  theirs.resume()
  await a.close()
  assert.equal(ours.destroyed, true)
  assert.equal((await gone).code, 'ERR_LIBP2P_RESET')
  const late = await new Promise((resolve) => ours.write('x', resolve))
  assert.equal(late.code, 'ERR_STREAM_DESTROYED')
})

test('a 1,000 streams one after the other leave nothing', async (t) => {
  const [a, b] = await startPair(t)
  b.handle('/echo/1', (stream) => pipeline(stream, stream))
  for (let i = 0; i < 1000; i++) {
    const stream = await a.open(b.id, '/echo/1')
    stream.end('x')
    assert.equal((await collect(stream)).toString(), 'x')
  }
})
