// Bad input, written once for every language (tests/cases), driven through the function table in queue mode.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { E, EVENT, PENDING } from '../dist/constants.js'
import { native } from '../dist/ffi.js'
import { takeHandle } from '../dist/memory.js'
import { Records } from '../dist/records.js'
import { until } from './helpers.js'

const folder = new URL('../../../tests/cases/', import.meta.url)
const { functions } = JSON.parse(readFileSync(new URL('../../../tests/abi/libp2p.abi.json', import.meta.url), 'utf8'))

const codeNames = Object.fromEntries(Object.entries(E).map(([name, number]) => [number, `P2P_E_${name}`]))

describe('bad input', () => {
  let lib
  let queue
  let node
  let dht
  let topic
  let lastTag = 0
  const records = new Records(16, 4096)

  before(async () => {
    lib = native()
    queue = takeHandle((_, out) => lib.p2p_queue_new(0, out))
    node = await start('{"listen": [], "keep": {"retry_min_ms": 10}}')
    dht = await start('{"listen": [], "dht": {"mode": "client", "validators": ["app=accept", "sha=hash"]}}')
    topic = takeHandle((_, out) => lib.p2p_topic_join(node, 'cases-subscribe', null, queue, 1000, out))
  })

  after(() => {
    lib.p2p_close(node)
    lib.p2p_close(dht)
    lib.p2p_close(queue)
  })

  function callOf(tag) {
    const call = Buffer.alloc(24)
    call.writeUInt32LE(24, 0)
    call.writeInt32LE(5000, 4)
    call.writeBigUInt64LE(BigInt(queue), 8)
    call.writeBigUInt64LE(BigInt(tag), 16)
    return call
  }

  async function completion(tag) {
    return until(() => {
      const n = records.poll(lib, queue)
      for (let i = 0; i < n; i++) {
        records.select(i)
        if (records.type === EVENT.DONE && records.tag === tag) {
          return { status: records.status, words: records.text(), object: records.object }
        }
      }
      return undefined
    }, `the completion of call ${tag}`)
  }

  async function start(json) {
    const config = takeHandle((_, out) => lib.p2p_config_new(json, out))
    const tag = ++lastTag
    assert.equal(lib.p2p_node_new(config, 0, 0, null, callOf(tag)), PENDING)
    const { status, words, object } = await completion(tag)
    lib.p2p_close(config)
    assert.equal(status >= 0, true, words)
    return object
  }

  async function run({ call, arguments: given }) {
    const tag = ++lastTag
    const bytes = Object.values(given).find((value) => value?.hex !== undefined)?.hex
    const own = []
    const config = () => {
      own.push(takeHandle((_, out) => lib.p2p_config_new(given.json ?? null, out)))
      return own.at(-1)
    }
    if (call === 'p2p_node_new') {
      // What is wrong by itself is refused by the config already, what is in conflict by the start.
      const out = Buffer.alloc(8)
      const status = lib.p2p_config_new(given.json ?? null, out)
      if (status < 0) return { status, words: lib.p2p_last_error() }
      lib.p2p_close(Number(out.readBigUInt64LE()))
    }
    const values = functions[call].parameters.map(({ name, type }) => {
      if (name === 'config') return config()
      if (name === 'json' && call === 'p2p_node_new') return null
      if (name === 'node') return call.startsWith('p2p_dht_') ? dht : node
      if (name === 'topic') return topic
      if (name === 'queue') return queue
      if (name === 'call') return callOf(tag)
      if (name === 'len') return bytes === undefined ? 0 : bytes.length / 2
      if (name.endsWith('_out')) return Buffer.alloc(8)
      const value = given[name]
      if (value?.hex !== undefined) return Buffer.from(value.hex, 'hex')
      if (value !== undefined) return value
      return type.endsWith('*') ? null : 0
    })
    const status = lib[call](...values)
    let result = { status, words: status < 0 ? lib.p2p_last_error() : '' }
    if (status === PENDING) result = await completion(tag)
    for (const handle of own) lib.p2p_close(handle)
    return result
  }

  for (const file of readdirSync(folder).filter((name) => name.endsWith('.json'))) {
    describe(file.replace('.json', ''), () => {
      for (const item of JSON.parse(readFileSync(new URL(file, folder), 'utf8'))) {
        test(item.name, async () => {
          const before = lib.p2p_live_handles(0)
          const { status, words } = await run(item)
          assert.equal(codeNames[status] ?? status, item.code, words)
          for (const word of item.words) assert.ok(words.includes(word), `"${words}" does not name ${word}`)
          assert.equal(lib.p2p_live_handles(0), before, 'handles left open')
        })
      }
    })
  }
})
