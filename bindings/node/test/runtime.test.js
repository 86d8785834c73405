// The library as a whole: what it is, what it logs, and how its runtime is tuned. Settings of the process are tried in one of their own.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { buildInfo, runtimeInfo, setLogFd, setLogFile, setLogLevel, setLogListener, version } from 'libp2pgo'
import { startNode, until, workFolder } from './helpers.js'

const package_ = JSON.parse(await readFile(new URL('../package.json', import.meta.url), 'utf8'))
const nobody = '12D3KooWLp2ir87w3yXq8Hgz7Wt9gQXbFkmQrdMDzSyPo9LkdSwh'

/** Runs a module in a process of its own and returns what it prints as JSON. */
async function inChild(program, ...args) {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, ...args])
  return JSON.parse(stdout)
}

test('version and buildInfo say what it was built from', () => {
  assert.equal(version(), package_.version)
  const { version: built, abi, go, transports } = buildInfo()
  assert.equal(built, version())
  assert.ok(abi >= 1)
  assert.match(go, /^go1\./)
  assert.ok(transports.includes('quic-v1'), `${transports}`)
})

test('runtimeInfo counts what the process has', async (t) => {
  const before = runtimeInfo()
  await startNode(t)
  const { goroutines, heap_bytes, threads, file_descriptors, handles, panics } = runtimeInfo()
  assert.ok(goroutines > before.goroutines && heap_bytes > 0 && threads > 0 && file_descriptors > 0)
  assert.equal(handles.node, 1)
  assert.equal(panics, 0)
})

test('a listener gets the records of the subsystems that log, until it is taken back', async (t) => {
  const node = await startNode(t)
  const records = []
  setLogListener((record) => records.push(record))
  setLogLevel('swarm2', 'debug')
  t.after(() => {
    setLogLevel('*', 'off')
    setLogListener(null)
  })
  await assert.rejects(node.connect(`/ip4/127.0.0.1/tcp/1/p2p/${nobody}`))
  await until(() => records.length > 0, 'a record')
  for (const { level, time, subsystem, message, attributes } of records) {
    assert.deepEqual([level, subsystem], ['debug', 'swarm2'])
    assert.ok(Date.now() - time < 60_000 && message !== '' && Array.isArray(attributes))
  }
  setLogListener(null)
  const seen = records.length
  await assert.rejects(node.connect(`/ip4/127.0.0.1/tcp/1/p2p/${nobody}`))
  assert.equal(records.length, seen)
  assert.throws(() => setLogLevel('swarm2', 'loud'), { code: 'ERR_LIBP2P_INVALID', message: /loud/ })
})

test('the log goes to a descriptor and a file', async (t) => {
  const path = join(await workFolder(t), 'node.log')
  const program = `
    import { createNode, setLogFd, setLogFile, setLogLevel } from 'libp2pgo'
    import { readFileSync } from 'node:fs'
    setLogFile(process.argv[1], { max_bytes: 2 ** 20, keep: 0 })
    setLogFd(1, { format: 'json' })
    setLogLevel('swarm2', 'debug')
    const node = await createNode({ listen: [] })
    await node.connect('/ip4/127.0.0.1/tcp/1/p2p/${nobody}').catch(() => {})
    await node.close()
    setLogFd(null)
    setLogFile(null)`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program, path])
  const [printed, written] = [stdout, await readFile(path, 'utf8')].map((text) => text.trimEnd().split('\n'))
  assert.equal(printed.length, written.length)
  for (const line of printed) assert.equal(JSON.parse(line).subsystem, 'swarm2')
  for (const line of written) assert.match(line, / debug swarm2 /)
  assert.throws(() => setLogFd(987654), { code: 'ERR_LIBP2P_INVALID' })
  assert.throws(() => setLogFile(join(path, 'below')), { code: 'ERR_LIBP2P_SYSTEM' })
})

test('a node runs on one thread under a heap limit, and the defaults come back', async () => {
  const program = `
    import { createNode, tuneRuntime } from 'libp2pgo'
    tuneRuntime({ threads: 1, heapBytes: 64 * 2 ** 20 })
    const [a, b] = [await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'] }), await createNode({ listen: [] })]
    const ms = await b.ping(await b.connect(a.addresses))
    tuneRuntime({ threads: -1, heapBytes: -1 })
    tuneRuntime({})
    const codes = [{ threads: -2 }, { heapBytes: 0.5 }, { heap_bytes: 1 }].map((limits) => {
      try { tuneRuntime(limits) } catch (error) { return error.code }
    })
    await Promise.all([a.close(), b.close()])
    console.log(JSON.stringify({ ms, codes }))`
  const { ms, codes } = await inChild(program)
  assert.ok(ms > 0)
  assert.deepEqual(codes, ['ERR_LIBP2P_INVALID', 'ERR_LIBP2P_INVALID', 'ERR_LIBP2P_CONFIG'])
})

test('a crash file is made, empty until it is needed, and one that cannot be is an error', async (t) => {
  const folder = await workFolder(t)
  const program = `
    import { crashFile } from 'libp2pgo'
    let code
    try { crashFile(process.argv[1] + '/none/crash') } catch (error) { code = error.code }
    crashFile(process.argv[1] + '/crash')
    crashFile(null)
    console.log(JSON.stringify({ code }))`
  const { code } = await inChild(program, folder)
  assert.equal(code, 'ERR_LIBP2P_SYSTEM')
  assert.equal(await readFile(join(folder, 'crash'), 'utf8'), '')
})
