// The options' types against the library's schema: the same keys, the same values. The compiler compares them.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { configSchema, createKey, importKey, importPublicKey, publicKeyOf, resolveAddress, tuneRuntime } from 'libp2pgo'
import { openPair, workFolder } from './helpers.js'

const folder = fileURLToPath(new URL('..', import.meta.url))

// What travels beside the document, or has another shape here, by path.
const beside = {
  node: ['signal'],
  'node.identity': ['key'],
  'node.private_network': ['key'],
  stream_open: ['signal', 'timeout'],
  request: ['signal', 'timeout'],
  perf: ['signal', 'timeout'],
  explain: ['signal', 'timeout'],
  address_resolve: ['signal', 'timeout'],
  rendezvous_register: ['signal', 'timeout'],
  rendezvous_discover: ['signal', 'timeout'],
  discovery_advertise: ['signal'],
  discovery_find: ['signal'],
  discovery_join: ['signal'],
  dht_put: ['signal', 'timeout'],
  dht_get: ['signal', 'timeout'],
  dht_set: ['signal', 'timeout'],
}
const ours = {
  'topic.validate': 'never',
  'explain.format': 'never',
  'node.limits.exact': 'never',
  'cid.version': '0 | 1',
  'cid_text.version': '0 | 1',
}

const types = {
  node: ['options', 'NodeOptions'],
  stream_serve: ['service', 'ServeOptions'],
  stream_open: ['node', 'OpenOptions'],
  request: ['request', 'RequestOptions'],
  request_serve: ['request', 'ServeRequestOptions'],
  topic: ['pubsub', 'TopicOptions'],
  topic_score: ['pubsub', 'TopicScoreOptions'],
  pubsub_trace: ['pubsub_control', 'TraceOptions'],
  subscription: ['pubsub', 'SubscribeOptions'],
  metrics_serve: ['numbers', 'MetricsServeOptions'],
  perf_serve: ['numbers', 'PerfServeOptions'],
  perf: ['numbers', 'PerfOptions'],
  explain: ['explain', 'ExplainOptions'],
  log_output: ['log', 'LogOutputOptions'],
  announce: ['options', 'AddressRules'],
  gate_ask: ['gater', 'AskOptions'],
  address_resolve: ['address', 'ResolveOptions'],
  cid: ['cid', 'CidOptions'],
  cid_text: ['cid', 'CidTextOptions'],
  dht_put: ['dht', 'DHTPutOptions'],
  dht_get: ['dht', 'DHTGetOptions'],
  dht_search: ['dht', 'DHTSearchOptions'],
  dht_providers: ['dht', 'DHTProvidersOptions'],
  dht_set: ['dht', 'DHTSetOptions'],
  rendezvous_register: ['discovery', 'RegisterOptions'],
  rendezvous_discover: ['discovery', 'RendezvousQuestion'],
  discovery_advertise: ['discovery', 'AdvertiseOptions'],
  discovery_find: ['discovery', 'FindOptions'],
  discovery_join: ['discovery', 'MeetOptions'],
}

function leaf(schema) {
  const type = [schema.type].flat().find((name) => name !== 'null')
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(' | ')
  if (type === 'array') return `readonly (${leaf(schema.items)})[]`
  return { integer: 'number', number: 'number', string: 'string', boolean: 'boolean' }[type]
}

/** Statements that compile only if the type at a path is what the schema says. */
function claims(schema, type, path) {
  const keys = [...Object.keys(schema.properties), ...(beside[path] ?? [])]
    .map((key) => JSON.stringify(key))
    .join(' | ')
  const lines = [`same<keyof ${type}, ${keys}>(true) // ${path}`]
  for (const [key, property] of Object.entries(schema.properties)) {
    const inner = `Plain<${type}['${key}']>`
    const name = `${path}.${key}`
    if (property.properties) lines.push(...claims(property, `Group<${inner}>`, name))
    else lines.push(`takes<${inner}>(null as unknown as ${ours[name] ?? leaf(property)}) // ${name}`)
  }
  return lines
}

test('the types of options have the keys and values of the schema', async (t) => {
  const { $defs } = configSchema()
  assert.deepEqual(Object.keys($defs).sort(), Object.keys(types).sort())
  const lines = Object.values(types).map(
    ([module, name]) => `import type { ${name} } from ${JSON.stringify(join(folder, 'dist', `${module}.js`))}`,
  )
  lines.push(
    'type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false',
    'function same<A, B>(_: Equal<A, B>): void {}',
    'function takes<T>(_: T): void {}',
    'type Plain<T> = Exclude<T, null | undefined>',
    // Of "a path, bytes or details" the details are compared.
    'type Group<T> = Exclude<T, string | Uint8Array>',
    'same<1, 1>(true)',
    'takes<1>(1)',
  )
  for (const [name, schema] of Object.entries($defs)) lines.push(...claims(schema, types[name][1], name))
  const work = await workFolder(t)
  await writeFile(join(work, 'claims.ts'), lines.join('\n'))
  await writeFile(
    join(work, 'tsconfig.json'),
    JSON.stringify({
      extends: join(folder, 'tsconfig.json'),
      compilerOptions: {
        noEmit: true,
        rootDir: '/',
        noUnusedLocals: false,
        noUnusedParameters: false,
        types: ['node'],
        typeRoots: [join(folder, 'node_modules', '@types')],
      },
      files: ['claims.ts'],
      include: [],
    }),
  )
  try {
    execFileSync(process.execPath, [join(folder, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', work], {
      cwd: work,
    })
  } catch (error) {
    assert.fail(`${error.stdout}\n${error.stderr}`)
  }
})

test('an option that a call does not have is an error that names it', async (t) => {
  const { a, b, ours } = await openPair(t, '/test/1', { dht: { mode: 'client' } })
  const key = createKey()
  const topic = a.join('topic')
  const calls = {
    connect: (wrong) => a.connect(b.addresses, wrong),
    ping: (wrong) => a.ping(b.id, wrong),
    'ping an address': (wrong) => a.ping(b.addresses[0], wrong),
    explain: (wrong) => a.explain(b.id, wrong),
    open: (wrong) => a.open(b.id, '/test/1', wrong),
    request: (wrong) => a.request(b.id, '/a/1', '', wrong),
    requestStream: (wrong) => a.requestStream(b.id, '/a/1', '', wrong).next(),
    publish: (wrong) => a.publish('topic', '', wrong),
    'topic.publish': (wrong) => topic.publish('', wrong),
    'topic.publishMany': (wrong) => topic.publishMany([''], wrong),
    'topic.subscribe': (wrong) => topic.subscribe(wrong),
    events: (wrong) => a.events(wrong),
    'connections.trim': (wrong) => a.connections.trim(5, wrong),
    'connections.setWatermarks': (wrong) => a.connections.setWatermarks(wrong),
    'peerstore.add': (wrong) => a.peerstore.add(b.addresses, wrong),
    'peerstore.addRecord': (wrong) => a.peerstore.addRecord(b.peerstore.record(), wrong),
    'perf.run': (wrong) => a.perf.run(b.id, {}, wrong),
    'bytes of perf.run': (wrong) => a.perf.run(b.id, wrong),
    'nat.wait': (wrong) => a.nat.wait('known', wrong),
    'relay.reserve': (wrong) => a.relay.reserve(b.addresses, wrong),
    'dht.bootstrap': (wrong) => a.dht.bootstrap(1, wrong),
    'dht.get': (wrong) => a.dht.get('name', wrong),
    'dht.findPeer': (wrong) => a.dht.findPeer(b.id, wrong),
    'dht.stopProviding': (wrong) => a.dht.stopProviding('/a', wrong),
    'discovery.unregister': (wrong) => a.discovery.unregister(b.addresses, 'a', wrong),
    'discovery.discover': (wrong) => a.discovery.discover(b.addresses, 'a', wrong),
    readMessage: (wrong) => ours.readMessage(wrong),
    frames: (wrong) => ours.frames(wrong),
    setDeadline: (wrong) => ours.setDeadline(wrong),
    resolveAddress: (wrong) => resolveAddress('/ip4/127.0.0.1', wrong),
    importKey: (wrong) => importKey(key, wrong),
    importPublicKey: (wrong) => importPublicKey(publicKeyOf(key), wrong),
    tuneRuntime: (wrong) => tuneRuntime(wrong),
  }
  for (const [name, call] of Object.entries(calls)) {
    const error = { code: 'ERR_LIBP2P_CONFIG', path: 'timeot', message: /^timeot: unknown option; there are \w+/ }
    await assert.rejects(async () => call({ timeot: 1 }), error, name)
    await assert.rejects(async () => call(5), { code: 'ERR_LIBP2P_INVALID', message: /expected an object/ }, name)
  }
  const meant = (call, words) => assert.rejects(call, { code: 'ERR_LIBP2P_CONFIG', message: words })
  await meant(a.publish('topic', '', { min_peers: 1 }), 'min_peers: unknown option; did you mean "minPeers"?')
  await meant(a.dht.put('/a/b', '', { minPeers: 1 }), 'minPeers: unknown option; did you mean "min_peers"?')
  await meant(a.ping(b.id, { timeout_ms: 1 }), 'timeout_ms: unknown option; did you mean "timeout"?')
  assert.ok((await a.ping(b.id, { timeot: undefined })) > 0)
})
