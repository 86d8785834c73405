// Gating: rules for peers and networks, and a doorman that is asked.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { assertNoHandles, startNode, startPair, until } from './helpers.js'

after(assertNoHandles)

const refused = (words) => ({ code: 'ERR_LIBP2P_REFUSED', message: new RegExp(words) })

test('blocking a peer closes its connections and refuses it', async (t) => {
  const [a, b] = await startPair(t)
  a.gater.block(b.id)
  await until(() => a.peers().length + b.peers().length === 0, 'the connection to be closed')
  await assert.rejects(a.connect(b.addresses), refused(`blocked by the rule ${b.id}`))
  await assert.rejects(b.connect(a.addresses), refused(a.id))
  const rules = a.gater.list()
  assert.equal(rules.block[0].rule, b.id)
  assert.ok(rules.dials_refused >= 1 && rules.connections_refused >= 1)
  a.gater.remove(b.id)
  await a.connect(b.addresses)
})

test('the most exact rule holds, then the default', async (t) => {
  const a = await startNode(t, { gating: { default: 'block', block: ['10.0.0.1'] } })
  const b = await startNode(t)
  await assert.rejects(a.connect(b.addresses), refused('default'))
  a.gater.setDefault('allow')
  a.gater.block('127.0.0.0/8')
  await assert.rejects(a.connect(b.addresses), refused('127.0.0.0/8'))
  a.gater.allow(b.id)
  await a.connect(b.addresses)
  assert.throws(() => a.gater.remove('192.0.2.1'), { code: 'ERR_LIBP2P_NOT_FOUND' })
  assert.throws(() => a.gater.block('192.0.2.1', 'nonsense'), { code: 'ERR_LIBP2P_PARSE', message: /nonsense/ })
  assert.throws(() => a.gater.setDefault('ask'), { code: 'ERR_LIBP2P_INVALID' })
})

for (const how of ['at once', 'later']) {
  test(`a doorman decides ${how}`, async (t) => {
    const a = await startNode(t)
    const b = await startNode(t)
    const asked = []
    const guests = new Set()
    const keeper = a.gater.ask(
      (request) => {
        asked.push(request)
        const verdict = guests.has(request.peer)
        return how === 'later' ? sleep(10, verdict) : verdict
      },
      { timeout_ms: 5000 },
    )
    await assert.rejects(a.connect(b.addresses), refused('verdict'))
    await assert.rejects(b.connect(a.addresses), refused(a.id))
    assert.equal(asked.length, 2)
    assert.deepEqual(asked[0], { peer: b.id, address: undefined, stage: 'dial', inbound: false, relayed: false })
    assert.deepEqual([asked[1].peer, asked[1].stage, asked[1].inbound], [b.id, 'connection', true])
    assert.match(asked[1].address, /^\/ip4\/127\.0\.0\.1\//)
    guests.add(b.id)
    await b.connect(a.addresses)
    assert.equal(keeper.info().asked, 3)
    assert.throws(() => a.gater.ask(() => true), { code: 'ERR_LIBP2P_EXISTS' })
    keeper.close()
    assert.equal(a.gater.list().asking, false)
  })
}

test('a doorman that sleeps is overruled by the default, one that throws lets nobody in', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  const warned = new Promise((resolve) => process.once('warning', resolve))
  const broken = a.gater.ask(() => {
    throw new Error('broken')
  })
  await assert.rejects(a.connect(b.addresses), refused('verdict'))
  assert.match((await warned).message, /broken/)
  broken.close()
  const sleeper = a.gater.ask(() => new Promise(() => {}), { timeout_ms: 20 })
  await assert.rejects(a.connect(b.addresses), refused('no verdict within 20ms'))
  sleeper.close()
  a.gater.ask(() => new Promise(() => {}), { timeout_ms: 20, default: 'allow' })
  await a.connect(b.addresses)
  assert.throws(() => a.gater.ask(7), { code: 'ERR_LIBP2P_INVALID' })
})

test('closing the node ends a dial that waits for its doorman', async (t) => {
  const a = await startNode(t)
  const b = await startNode(t)
  let reached
  const asked = new Promise((resolve) => {
    reached = resolve
  })
  a.gater.ask(
    () => {
      reached()
      return new Promise(() => {})
    },
    { timeout_ms: 10_000 },
  )
  const dial = assert.rejects(a.connect(b.addresses))
  await asked
  await a.close()
  await dial
})
