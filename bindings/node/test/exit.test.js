// How a process ends while nodes are busy: at once, with the right code, whatever way it takes.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'
import { native } from '../dist/ffi.js'
import { next, UNIT, within } from './helpers.js'

const busy = fileURLToPath(new URL('programs/busy.js', import.meta.url))
const worker = new URL('programs/worker.js', import.meta.url)

function start(...args) {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] })
  let stderr = ''
  let stdout = ''
  child.stderr.on('data', (data) => {
    stderr += data
  })
  const ready = new Promise((resolve) => {
    child.stdout.on('data', (data) => {
      stdout += data
      if (stdout.includes('ready')) resolve()
    })
  })
  const ended = within(
    new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal, stderr, stdout }))),
    `the end of ${args.join(' ')}`,
    20 * UNIT,
  ).finally(() => child.kill('SIGKILL'))
  return { child, ready, ended }
}

for (const [how, code, words] of [
  ['exit', 7, /^$/],
  ['throw', 1, /Error: thrown/],
  ['reject', 1, /Error: rejected/],
  ['unref', 0, /^$/],
  ['close', 0, /^$/],
]) {
  test(`a busy process ends by ${how}`, async () => {
    const { code: got, signal, stderr } = await start(busy, how).ended
    assert.deepEqual({ got, signal }, { got: code, signal: null }, stderr)
    assert.match(stderr, words)
  })
}

for (const name of ['SIGINT', 'SIGTERM']) {
  test(`${name} ends a busy process`, async () => {
    const { child, ready, ended } = start(busy, 'stay')
    await within(ready, 'the program', 20 * UNIT)
    child.kill(name)
    const { code, signal, stderr } = await ended
    assert.deepEqual({ code, signal }, { code: null, signal: name }, stderr)
    assert.equal(stderr, '')
  })
}

test('a SIGTERM handler can close everything', async () => {
  const { child, ready, ended } = start(busy, 'handler')
  await within(ready, 'the program', 20 * UNIT)
  child.kill('SIGTERM')
  const { code, stderr } = await ended
  assert.equal(code, 5, stderr)
})

test('importing the package alone holds nothing', async () => {
  const { code, stderr } = await start('--input-type=module', '-e', "import 'libp2pgo'").ended
  assert.equal(code, 0, stderr)
})

test('closing holds the process until it is done, and no longer', async () => {
  const program = `
    import { createNode } from 'libp2pgo'
    const other = (await createNode({ listen: [] })).unref()
    for (const during of [() => {}, (node) => node.unref(), (node) => node.ref().unref()]) {
      for (const held of [true, false]) {
        const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'] })
        if (!held) node.unref()
        const closing = node.close()
        during(node)
        await closing
        during(node)
      }
    }
    other.ref()
    other.unref()
    process.on('exit', (code) => console.log('ended with', code))`
  const { code, stderr, stdout } = await start('--input-type=module', '-e', program).ended
  assert.equal(code, 0, stderr)
  assert.match(stdout, /ended with 0/)
})

test('a storm of signals is survived', async () => {
  const program = `
    import { createNode } from 'libp2pgo'
    const a = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'] }), b = await createNode({ listen: [] })
    let signals = 0
    process.on('SIGUSR2', () => signals++)
    process.on('SIGWINCH', () => signals++)
    a.onRequest('/echo/1', (data) => data)
    const peer = await b.connect(a.addresses)
    console.log('ready')
    const end = Date.now() + 3000
    while (Date.now() < end) await Promise.all([1, 2, 3, 4].map(() => b.request(peer, '/echo/1', Buffer.alloc(5000))))
    await a.close()
    await b.close()
    process.exitCode = signals > 1000 ? 0 : 3
    // At its very end a process has no handlers any more: the storm must be over by then.
    process.send('done')
    process.once('message', () => process.disconnect())`
  const { child, ready, ended } = start('--input-type=module', '-e', program)
  await within(ready, 'the program', 20 * UNIT)
  const storm = setInterval(() => {
    for (let i = 0; i < 20; i++) {
      child.kill('SIGUSR2')
      child.kill('SIGWINCH')
    }
  }, 4)
  child.once('message', () => {
    clearInterval(storm)
    child.send('end')
  })
  const { code, signal, stderr } = await ended.finally(() => clearInterval(storm))
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr)
})

test('three workers, each with its own nodes, close and leave nothing', async () => {
  const before = native().p2p_live_handles(0)
  const workers = Array.from({ length: 3 }, () => new Worker(worker, { workerData: { requests: 200, flood: false } }))
  await Promise.all(workers.map((each) => next(each, 'message', 30 * UNIT)))
  const exits = workers.map((each) => next(each, 'exit', 20 * UNIT))
  for (const each of workers) each.postMessage('stop')
  assert.deepEqual(await Promise.all(exits), [0, 0, 0])
  assert.equal(native().p2p_live_handles(0), before)
})

test('terminating busy workers ten times harms nobody', async () => {
  const program = `
    import { Worker } from 'node:worker_threads'
    import { createNode } from 'libp2pgo'
    const node = await createNode({ listen: [] })
    for (let i = 0; i < 10; i++) {
      const worker = new Worker(new URL(${JSON.stringify(worker.href)}), { execArgv: [], workerData: { requests: i * 5, flood: true } })
      await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
      await worker.terminate()
    }
    await node.close()
    console.log('ready')
    process.exit(0)`
  const { code, signal, stderr, stdout } = await start('--input-type=module', '-e', program).ended
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr)
  assert.match(stdout, /ready/)
})
