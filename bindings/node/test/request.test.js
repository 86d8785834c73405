// Requests: unary and streamed, with deadline, cancellation, limits and errors.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { RequestError } from 'libp2pgo'
import { KIND } from '../dist/constants.js'
import { native } from '../dist/ffi.js'
import { assertNoHandles, collect, next, standStill, startPair, until, within } from './helpers.js'

after(assertNoHandles)

function assertNoRequests() {
  assert.equal(native().p2p_live_handles(KIND.REQUEST), 0, 'requests left open')
}

test('a request is answered', async (t) => {
  const [a, b] = await startPair(t)
  let seen
  b.onRequest('/upper/1', async (data, context) => {
    seen = context
    return data.toString().toUpperCase()
  })
  assert.equal((await a.request(b.id, '/upper/1', 'hello')).toString(), 'HELLO')
  assert.equal(seen.peer, a.id)
  assert.equal(seen.protocol, '/upper/1')
  assert.ok(seen.deadline.getTime() > Date.now())
  assert.equal(seen.signal.aborted, false)
})

test('empty requests and answers are no errors', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/nothing/1', () => undefined)
  assert.equal((await a.request(b.id, '/nothing/1', new Uint8Array(0))).length, 0)
})

test('every kind of Uint8Array is taken', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/echo/1', (data) => new Uint8Array(data))
  const bytes = new Uint8Array([0, 1, 2, 3, 4])
  for (const data of [bytes, bytes.subarray(1, 3), Buffer.from(bytes)]) {
    const answer = await a.request(b.id, '/echo/1', data)
    assert.ok(Buffer.isBuffer(answer))
    assert.deepEqual([...answer], [...data])
  }
  for (const data of [5, null, {}, [1]]) {
    await assert.rejects(a.request(b.id, '/echo/1', data), { code: 'ERR_LIBP2P_INVALID' })
  }
})

test('32 requests at a time find their own answers', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/echo/1', (data) => data)
  const answers = await Promise.all(Array.from({ length: 320 }, (_, i) => a.request(b.id, '/echo/1', String(i))))
  assert.deepEqual(
    answers.map(String),
    Array.from({ length: 320 }, (_, i) => String(i)),
  )
})

test('a RequestError reaches the asker with code and words', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/fail/1', () => {
    throw new RequestError(404, 'no such thing: grüße')
  })
  await assert.rejects(a.request(b.id, '/fail/1', ''), (error) => {
    assert.ok(error instanceof RequestError)
    assert.equal(error.code, 'ERR_LIBP2P_REMOTE')
    assert.equal(error.reason, 404)
    assert.match(error.message, /no such thing: grüße/)
    return true
  })
})

test("a NUL in a RequestError's words does not keep them from the asker", async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/quote/1', (data) => {
    throw new RequestError(4, `unknown: ${data}`)
  })
  const answer = { code: 'ERR_LIBP2P_REMOTE', reason: 4, message: /unknown: he\ufffdllo/ }
  await assert.rejects(within(a.request(b.id, '/quote/1', 'he\0llo'), 'the answer'), answer)
})

test("a RequestError's reason is an integer that is not negative", async (t) => {
  const expected = { code: 'ERR_LIBP2P_INVALID', message: /^reason: expected an integer from 0 to 2147483647, got / }
  for (const reason of [-1, 1.5, 2 ** 31, Number.NaN, '4', undefined, null]) {
    assert.throws(() => new RequestError(reason, 'no'), expected)
  }
  assert.equal(new RequestError(2 ** 31 - 1, 'no').reason, 2 ** 31 - 1)
  const [a, b] = await startPair(t)
  b.onRequest('/wrong/1', () => {
    throw new RequestError(-1, 'no')
  })
  const warned = next(process, 'warning')
  const noAnswer = { code: 'ERR_LIBP2P_REMOTE', reason: -1 }
  await assert.rejects(a.request(b.id, '/wrong/1', ''), noAnswer)
  assert.match((await warned).message, /\/wrong\/1.*reason: expected an integer/)
})

test('a RequestError that cannot be sent is heard of', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/odd/1', () => {
    throw Object.assign(new RequestError(4, 'no'), { reason: 'four' })
  })
  const heard = next(b, 'error:handler')
  await assert.rejects(a.request(b.id, '/odd/1', ''), { code: 'ERR_LIBP2P_REMOTE' })
  assert.ok((await heard) instanceof TypeError)
})

test("a listener of 'error:handler' that throws is warned of, and the node serves on", async (t) => {
  const [a, b] = await startPair(t)
  b.on('error:handler', () => {
    throw new Error('the listener fails too')
  })
  b.onRequest('/bug/1', () => {
    throw new Error('the handler fails')
  })
  b.handle('/bug/2', async () => {
    throw new Error('the handler fails')
  })
  for (const fail of [() => a.request(b.id, '/bug/1', ''), async () => collect(await a.open(b.id, '/bug/2'))]) {
    const warned = next(process, 'warning')
    await assert.rejects(fail())
    assert.match((await warned).message, /error:handler.*the listener fails too/)
  }
  assert.ok((await a.ping(b.id)) > 0)
})

test("a handler's other errors stay its own", async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/bug/1', () => {
    throw new Error('secret detail')
  })
  const heard = next(b, 'error:handler')
  await assert.rejects(a.request(b.id, '/bug/1', ''), (error) => {
    assert.match(error.code, /^ERR_LIBP2P_/)
    assert.doesNotMatch(error.message, /secret/)
    return true
  })
  assert.equal((await heard).message, 'secret detail')
})

test('a protocol that nobody serves is an error', async (t) => {
  const [a, b] = await startPair(t)
  await assert.rejects(a.request(b.id, '/nobody/1', ''), { code: 'ERR_LIBP2P_PROTOCOL' })
})

test('an answer or a request over the limit is an error', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/big/1', () => Buffer.alloc(1001), { max_request: 100 })
  await assert.rejects(a.request(b.id, '/big/1', '', { max_response: 1000 }), { code: 'ERR_LIBP2P_TOO_BIG' })
  await assert.rejects(a.request(b.id, '/big/1', Buffer.alloc(101)), { code: 'ERR_LIBP2P_TOO_BIG' })
  assert.equal((await a.request(b.id, '/big/1', '')).length, 1001)
})

test('an answer that is larger than what waits for sending at a time leaves no handle', async (t) => {
  const [a, b] = await startPair(t)
  const large = Buffer.alloc(2 * 1024 * 1024, 'x')
  b.onRequest('/large/1', () => large)
  for (let i = 0; i < 4; i++) assert.ok(large.equals(await a.request(b.id, '/large/1', '')))
  await until(() => native().p2p_live_handles(KIND.REQUEST) === 0, 'the requests to be closed')
})

test('more requests than the service takes are told so', async (t) => {
  const [a, b] = await startPair(t)
  let release
  const gate = new Promise((resolve) => {
    release = resolve
  })
  let open = 0
  b.onRequest(
    '/busy/1',
    async () => {
      open++
      await gate
    },
    { max_concurrent: 1 },
  )
  const first = a.request(b.id, '/busy/1', '')
  await until(() => open === 1, 'the first request')
  await assert.rejects(a.request(b.id, '/busy/1', ''), { code: 'ERR_LIBP2P_BUSY' })
  release()
  await first
})

test('an abort reaches the handler', async (t) => {
  const [a, b] = await startPair(t)
  let arrived
  let cancelled
  const started = new Promise((resolve) => {
    arrived = resolve
  })
  const ended = new Promise((resolve) => {
    cancelled = resolve
  })
  b.onRequest('/slow/1', async (_, { signal }) => {
    signal.addEventListener('abort', cancelled)
    arrived()
    await ended
  })
  const abort = new AbortController()
  const request = a.request(b.id, '/slow/1', '', { signal: abort.signal })
  await within(started, 'the handler')
  abort.abort(new Error('never mind'))
  await assert.rejects(request, { message: 'never mind' })
  await within(ended, 'the handler to hear of it')
})

test("a timeout is the handler's deadline", async (t) => {
  const [a, b] = await startPair(t)
  let context
  b.onRequest('/slow/1', async (_, seen) => {
    context = seen
    await new Promise((resolve) => seen.signal.addEventListener('abort', resolve))
  })
  await assert.rejects(a.request(b.id, '/slow/1', '', { timeout: 200 }), { code: 'ERR_LIBP2P_TIMEOUT' })
  await until(() => context.signal.aborted, 'the handler to hear of it')
  assert.ok(context.deadline.getTime() - Date.now() < 500)
})

test('no deadline is no deadline', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/when/1', (_, { deadline }) => String(deadline))
  assert.equal((await a.request(b.id, '/when/1', '', { timeout: Infinity })).toString(), 'null')
})

test('an answer in parts', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/count/1', async function* (data) {
    for (let i = 1; i <= Number(data.toString()); i++) yield String(i)
  })
  for (const n of [0, 1, 2, 1000]) {
    const parts = []
    for await (const part of a.requestStream(b.id, '/count/1', String(n))) parts.push(part.toString())
    assert.deepEqual(
      parts,
      Array.from({ length: n }, (_, i) => String(i + 1)),
    )
  }
})

test('parts arrive as they are made', async (t) => {
  const [a, b] = await startPair(t)
  let go
  b.onRequest('/steps/1', async function* () {
    yield 'first'
    await new Promise((resolve) => {
      go = resolve
    })
    yield 'second'
  })
  const parts = a.requestStream(b.id, '/steps/1', '')
  assert.equal((await within(parts.next(), 'the first part')).value.toString(), 'first')
  go()
  assert.equal((await within(parts.next(), 'the second part')).value.toString(), 'second')
  assert.equal((await within(parts.next(), 'the end')).done, true)
})

test('an error after parts comes after them', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/half/1', async function* () {
    yield 'one'
    throw new RequestError(7, 'broke')
  })
  const parts = []
  await assert.rejects(
    (async () => {
      for await (const part of a.requestStream(b.id, '/half/1', '')) parts.push(part.toString())
    })(),
    { code: 'ERR_LIBP2P_REMOTE', reason: 7 },
  )
  assert.deepEqual(parts, ['one'])
})

test('leaving the loop cancels the handler', async (t) => {
  const [a, b] = await startPair(t)
  let stopped = false
  b.onRequest('/endless/1', async function* () {
    try {
      for (;;) yield Buffer.alloc(10_000)
    } finally {
      stopped = true
    }
  })
  for await (const _ of a.requestStream(b.id, '/endless/1', '')) break
  await until(() => stopped, 'the generator to be left')
})

test('parts that nobody fetches hold the handler back', async (t) => {
  const [a, b] = await startPair(t)
  let made = 0
  b.onRequest('/flood/1', async function* () {
    for (; made < 100_000; made++) yield Buffer.alloc(10_000)
  })
  const parts = a.requestStream(b.id, '/flood/1', '')
  await parts.next()
  let last = -1
  await until(() => {
    const still = made === last
    last = made
    return still && made > 1
  }, 'the handler to stand still')
  assert.ok(made < 10_000, `${made} parts were made`)
  await parts.return()
})

for (const open of [false, true]) {
  test(`requests that wait in the queue at unhandle are turned away${open ? ', one being open too' : ''}`, async (t) => {
    const [a, b] = await startPair(t)
    let release
    const gate = new Promise((resolve) => {
      release = resolve
    })
    let begun = 0
    b.onRequest('/late/1', async () => {
      begun++
      await gate
      return 'done'
    })
    const forEver = { timeout: Number.POSITIVE_INFINITY }
    const first = open ? a.request(b.id, '/late/1', '', forEver) : undefined
    if (open) await until(() => begun === 1, 'the first request')
    const late = Array.from({ length: 8 }, () => a.request(b.id, '/late/1', '', forEver))
    const rejected = Promise.all(late.map((request) => assert.rejects(request, { code: /^ERR_LIBP2P_/ })))
    standStill(8)
    b.unhandle('/late/1')
    release()
    await within(rejected, 'the rejections')
    if (open) assert.equal((await within(first, 'the answer')).toString(), 'done')
    assert.equal(begun, open ? 1 : 0)
    assertNoRequests()
  })
}

test('an abort reaches the handler after unhandle too', async (t) => {
  const [a, b] = await startPair(t)
  let begin
  const begun = new Promise((resolve) => {
    begin = resolve
  })
  b.onRequest('/slow/1', async (_, { signal }) => {
    begin(signal)
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  })
  const abort = new AbortController()
  const rejected = assert.rejects(a.request(b.id, '/slow/1', '', { signal: abort.signal, timeout: 60_000 }), {
    message: 'never mind',
  })
  const signal = await within(begun, 'the handler')
  b.unhandle('/slow/1')
  abort.abort(new Error('never mind'))
  await rejected
  await until(() => signal.aborted, 'the handler to hear of it')
  await until(() => native().p2p_live_handles(KIND.REQUEST) === 0, 'the request to be closed')
})

test('unhandle stops serving; a name is served once', async (t) => {
  const [a, b] = await startPair(t)
  b.onRequest('/once/1', () => 'x')
  assert.throws(() => b.onRequest('/once/1', () => 'y'), { code: 'ERR_LIBP2P_EXISTS' })
  b.unhandle('/once/1')
  await assert.rejects(a.request(b.id, '/once/1', ''), { code: 'ERR_LIBP2P_PROTOCOL' })
  assert.throws(() => b.onRequest('/typed/1', 'no function'), { code: 'ERR_LIBP2P_INVALID' })
})

test('a peer that goes away ends the request', async (t) => {
  const [a, b] = await startPair(t)
  let arrived
  const started = new Promise((resolve) => {
    arrived = resolve
  })
  b.onRequest('/gone/1', async () => {
    arrived()
    await new Promise(() => {})
  })
  const request = a.request(b.id, '/gone/1', '')
  const rejected = assert.rejects(request, (error) => /^ERR_LIBP2P_/.test(error.code))
  await started
  a.disconnect(b.id)
  await within(rejected, 'the rejection')
})
