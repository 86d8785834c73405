// Shared by all tests: nodes on loopback that are closed at the end, and waiting for a state with a limit.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode } from 'libp2pgo'
import { KIND } from '../dist/constants.js'
import { native } from '../dist/ffi.js'
import { takeText } from '../dist/memory.js'
import { queue } from '../dist/queue.js'

/** Slow machines scale all limits. */
export const UNIT = Number(process.env.TEST_TIME_SCALE ?? 1) * 1000

/** A node on a loopback port of the system's choice, closed when the test ends. */
export async function startNode(t, options = {}) {
  const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'], ...options })
  t.after(() => node.close())
  return node
}

/** A folder that goes when the test ends. */
export async function workFolder(t) {
  const folder = await mkdtemp(join(tmpdir(), 'libp2pgo-'))
  t.after(() => rm(folder, { recursive: true }))
  return folder
}

/** Two connected nodes. */
export async function startPair(t, options = {}) {
  const a = await startNode(t, options)
  const b = await startNode(t, options)
  await a.connect(b.addresses)
  return [a, b]
}

/** An open stream between two nodes: our end and the peer's. */
export async function openPair(t, protocol = '/test/1', options = {}) {
  const [a, b] = await startPair(t, options)
  const arrived = new Promise((resolve) => {
    b.handle(protocol, (stream) => {
      resolve(stream)
    })
  })
  const ours = await a.open(b.id, protocol)
  const theirs = await within(arrived, 'the inbound stream')
  t.after(() => {
    ours.on('error', () => {})
    theirs.on('error', () => {})
    ours.destroy()
    theirs.destroy()
  })
  return { a, b, ours, theirs }
}

/** Waits for a promise, with a limit. */
export async function within(promise, what, ms = 10 * UNIT) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Waits until a condition holds; the last value is in the error. */
export async function until(condition, what, ms = 10 * UNIT) {
  const end = performance.now() + ms
  for (;;) {
    const value = await condition()
    if (value) return value
    if (performance.now() > end) assert.fail(`waited ${ms} ms for ${what}; the last value was ${value}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** The next event of an emitter, with a limit. */
export function next(emitter, name, ms) {
  return within(new Promise((resolve) => emitter.once(name, (...args) => resolve(args[0]))), `'${name}'`, ms)
}

/** Holds the loop until the library has `n` events for it that it has not seen. */
export function standStill(n, ms = 10 * UNIT) {
  const end = performance.now() + ms
  const waiting = () => JSON.parse(takeText((lib, out) => lib.p2p_info(queue().handle, out))).events
  while (waiting() < n) if (performance.now() > end) assert.fail(`${waiting()} of ${n} events came within ${ms} ms`)
}

/** All bytes of a readable. */
export async function collect(readable) {
  const chunks = []
  for await (const chunk of readable) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Fails if any handle of the library is left. The queue closes when the last event that it waits for has come. */
export async function assertNoHandles() {
  const open = () => Object.entries(KIND).filter(([, kind]) => native().p2p_live_handles(kind) > 0)
  await until(() => native().p2p_live_handles(0) === 0, 'the last handle to be closed').catch((error) => {
    assert.fail(`${error.message}; open: ${open()}`)
  })
}
