// What a call costs. The bounds are far above what is measured: they tell a broken stack-bounds cache (160 us and more) from a working one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { native } from '../dist/ffi.js'
import { takeHandle } from '../dist/memory.js'
import { Records } from '../dist/records.js'
import { startNode } from './helpers.js'

/** Microseconds per call, the best of several rounds: noise only ever adds. */
function cost(rounds, calls, run) {
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < rounds; i++) {
    const start = process.hrtime.bigint()
    for (let j = 0; j < calls; j++) run(j)
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1000 / calls)
  }
  return best
}

test('a call that does not enter Go costs under 10 us', (t) => {
  const lib = native()
  const us = cost(5, 20_000, () => lib.p2p_abi())
  t.diagnostic(`p2p_abi: ${us.toFixed(3)} us`)
  assert.ok(us < 10, `${us} us`)
})

test('a call that enters Go costs under 10 us on the main thread', async (t) => {
  const lib = native()
  const node = await startNode(t, { listen: [] })
  const stream = takeHandle((_, out) => lib.p2p_queue_new(0, out))
  t.after(() => lib.p2p_close(stream))
  const us = cost(5, 5000, () => lib.p2p_cancel(stream, 1))
  t.diagnostic(`p2p_cancel: ${us.toFixed(3)} us`)
  assert.ok(us < 10, `${us} us`)
  assert.ok(node.id)
})

test('an event of 100 B costs under 5 us to deliver', (t) => {
  const lib = native()
  const queue = takeHandle((_, out) => lib.p2p_queue_new(0, out))
  t.after(() => lib.p2p_close(queue))
  const records = new Records(256, 256 * 1024)
  const payload = Buffer.alloc(100)
  let best = Number.POSITIVE_INFINITY
  for (let round = 0; round < 5; round++) {
    const count = 20_000
    for (let i = 0; i < count; i++) lib.p2p_queue_post(queue, 1, i, payload, payload.length)
    const start = process.hrtime.bigint()
    let seen = 0
    for (let n = records.poll(lib, queue); n > 0; n = records.poll(lib, queue)) {
      for (let i = 0; i < n; i++) {
        records.select(i)
        if (records.data().length === 100 && records.value === seen) seen++
      }
    }
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1000 / count)
    assert.equal(seen, count)
  }
  t.diagnostic(`event: ${best.toFixed(3)} us`)
  assert.ok(best < 5, `${best} us`)
})
