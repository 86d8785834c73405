// Keys, what they sign, addresses and CIDs, against what others wrote (tests/vectors).
import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, sign as nodeSign, verify as nodeVerify } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import {
  addressFromBytes,
  addressToBytes,
  cidFromBytes,
  cidToBytes,
  createKey,
  createNetworkKey,
  decapsulateAddress,
  exportKey,
  exportPublicKey,
  formatCid,
  importKey,
  importPublicKey,
  joinAddresses,
  makeCid,
  networkKeyFingerprint,
  networkKeyText,
  openEnvelope,
  openPeerRecord,
  parseAddress,
  parseCid,
  parseNetworkKey,
  peerIdFromBytes,
  peerIdInfo,
  peerIdOfKey,
  peerIdToBytes,
  publicKeyInfo,
  publicKeyOf,
  publicKeyOfPeer,
  resolveAddress,
  runtimeInfo,
  sealEnvelope,
  sealPeerRecord,
  sign,
  splitAddress,
  verify,
  verifyCid,
} from 'libp2pgo'
import { startNode, workFolder } from './helpers.js'

const vectors = JSON.parse(readFileSync(new URL('../../../tests/vectors/keys.json', import.meta.url), 'utf8'))
const hex = (text) => Buffer.from(text, 'hex')
const message = hex(vectors.message)
const code = (name) => ({ code: `ERR_LIBP2P_${name}` })

for (const v of vectors.keys) {
  describe(v.type, () => {
    const forms = { protobuf: hex(v.private), base64: v.base64, pem: v.pem, raw: hex(v.raw) }

    test('is read and written in every format', () => {
      for (const [format, data] of Object.entries(forms)) {
        const key = importKey(data, { format, type: v.type })
        assert.equal(peerIdOfKey(key), v.peer)
        assert.equal(publicKeyOf(key).toString('hex'), v.public)
        assert.deepEqual(importKey(exportKey(key, format), { format, type: v.type }), key)
        if (format !== 'raw') assert.deepEqual(importKey(data), key)
      }
      const key = hex(v.public)
      assert.deepEqual(publicKeyInfo(key), { type: v.type, peer: v.peer, cid: v.cid, inline: v.inline })
      assert.equal(exportPublicKey(key, 'pem').toString(), v.public_pem)
      assert.equal(exportPublicKey(key, 'raw').toString('hex'), v.public_raw)
      assert.deepEqual(importPublicKey(v.public_pem), key)
    })

    test('signs and verifies, with Node.js as the judge', () => {
      const key = importKey(v.pem)
      const publicKey = publicKeyOf(key)
      const algorithm = v.type === 'ed25519' ? null : 'sha256'
      const signature = sign(key, message)
      const theirs = createPublicKey(exportPublicKey(publicKey, 'pem').toString())
      assert.ok(nodeVerify(algorithm, message, theirs, signature))
      assert.ok(verify(publicKey, message, signature))
      assert.ok(verify(publicKey, message, hex(v.signature)))
      if (v.type !== 'secp256k1') {
        assert.ok(
          verify(publicKey, message, nodeSign(algorithm, message, createPrivateKey(exportKey(key, 'pem').toString()))),
        )
      }
      assert.equal(verify(publicKey, 'another', signature), false)
      assert.equal(verify(publicKey, message, signature.subarray(1)), false)
      assert.equal(verify(publicKeyOf(createKey()), message, signature), false)
    })

    test('its peer id in all forms', () => {
      for (const form of [v.peer, v.cid]) {
        assert.deepEqual(peerIdInfo(form), { peer: v.peer, cid: v.cid, inline: v.inline, type: v.inline ? v.type : '' })
        assert.equal(peerIdToBytes(form).toString('hex'), v.id)
      }
      assert.equal(peerIdFromBytes(hex(v.id)), v.peer)
      if (v.inline) assert.equal(publicKeyOfPeer(v.peer).toString('hex'), v.public)
      else assert.throws(() => publicKeyOfPeer(v.peer), code('NOT_FOUND'))
    })

    test('a node takes it from a file of any form', async (t) => {
      const folder = await workFolder(t)
      for (const form of ['protobuf', 'base64', 'pem']) {
        const file = join(folder, form)
        await writeFile(file, forms[form], { mode: 0o600 })
        const node = await startNode(t, { identity: file, listen: [] })
        assert.equal(node.id, v.peer)
      }
    })
  })
}

test('what is wrong with a key is told without the key', () => {
  const key = createKey()
  assert.throws(() => exportKey(key, 'jwk'), /jwk.*protobuf, base64, pem, raw/)
  assert.throws(() => importKey(exportKey(key, 'raw'), { format: 'raw' }), /type/)
  assert.throws(() => importKey(key, { type: 'rsa' }), /is of type ed25519, not rsa/)
  assert.throws(
    () => importKey('-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n-----END ENCRYPTED PRIVATE KEY-----\n'),
    code('UNSUPPORTED'),
  )
  assert.throws(
    () => importKey(`x${exportKey(key, 'base64')}`),
    (error) =>
      error.code === 'ERR_LIBP2P_PARSE' && !error.message.includes(exportKey(key, 'base64').toString().slice(0, 8)),
  )
  assert.throws(() => importKey(7), code('INVALID'))
})

test('network keys', () => {
  const v = vectors.network_key
  for (const form of [v.text, v.base64, v.key, hex(v.key)]) {
    assert.equal(parseNetworkKey(form).toString('hex'), v.key)
    assert.equal(networkKeyText(form), v.text)
    assert.equal(networkKeyFingerprint(form), v.fingerprint)
  }
  assert.notEqual(createNetworkKey(), createNetworkKey())
  assert.throws(() => networkKeyFingerprint('nonsense'), code('PARSE'))
})

test('envelopes', () => {
  const v = vectors.envelope
  const opened = openEnvelope(hex(v.envelope), v.domain)
  assert.equal(opened.payload.toString('hex'), v.payload)
  assert.equal(opened.payloadType.toString('hex'), v.payload_type)
  assert.equal(opened.peer, v.peer)
  const key = createKey('secp256k1')
  for (const payload of [Buffer.alloc(0), Buffer.alloc(100_000, 1)]) {
    const sealed = sealEnvelope(key, 'a domain', 'type', payload)
    const again = openEnvelope(sealed, 'a domain')
    assert.deepEqual(again.payload, payload)
    assert.deepEqual(again.publicKey, publicKeyOf(key))
    assert.throws(() => openEnvelope(sealed, 'another'), code('SECURITY'))
  }
  assert.throws(() => openEnvelope(message, 'a domain'), code('PARSE'))
  assert.throws(() => sealEnvelope(key, '', 'type', ''), /domain/)
})

test('peer records', () => {
  const v = vectors.record
  const record = { peer: v.peer, sequence: BigInt(v.sequence), addresses: v.addresses }
  assert.deepEqual(openPeerRecord(hex(v.record)), record)
  const key = importKey(vectors.keys[0].pem)
  assert.equal(sealPeerRecord(key, v.addresses, record.sequence).toString('hex'), v.record)
  assert.equal(openPeerRecord(sealPeerRecord(key, [], 2n ** 64n - 1n)).sequence, 2n ** 64n - 1n)
  assert.ok(openPeerRecord(sealPeerRecord(key, [])).sequence > 1_600_000_000_000_000_000n)
  assert.throws(() => sealPeerRecord(key, [], -1n), /sequence/)
  assert.throws(() => sealPeerRecord(key, [`/ip4/1.2.3.4/tcp/1/p2p/${vectors.keys[1].peer}`]), code('INVALID'))
  assert.throws(() => openPeerRecord(hex(vectors.envelope.envelope)), code('SECURITY'))
})

test('addresses', () => {
  for (const v of vectors.addresses) {
    assert.equal(parseAddress(v.text).address, v.text)
    assert.equal(addressToBytes(v.text).toString('hex'), v.bytes)
    assert.equal(addressFromBytes(hex(v.bytes)), v.text)
    assert.equal(joinAddresses(...splitAddress(v.text)), v.text)
  }
  const relayed = parseAddress(vectors.addresses[4].text)
  assert.equal(relayed.peer, vectors.keys[2].peer)
  assert.equal(relayed.relayed, true)
  assert.deepEqual(relayed.components[3], { protocol: 'p2p-circuit', code: 290, value: '' })
  assert.equal(decapsulateAddress('/ip4/1.2.3.4/tcp/4001/ws', '/tcp/4001'), '/ip4/1.2.3.4')
  assert.equal(decapsulateAddress('/ip4/1.2.3.4', '/ip4/1.2.3.4'), '')
  assert.throws(() => decapsulateAddress('/ip4/1.2.3.4/tcp/4001', '/tcp/40'), code('NOT_FOUND'))
  for (const bad of ['', '/ip4/1.2.3', 'localhost:80']) assert.throws(() => parseAddress(bad), code('PARSE'))
  assert.throws(() => parseAddress('/ip4/1.2.3.4\0'), /NUL/)
})

/** A name server on loopback that knows node.test, or never answers. */
async function nameServer(t, silent = false) {
  const server = createSocket('udp4')
  server.on('message', (query, peer) => {
    if (silent) return
    let end = 12
    const labels = []
    while (query[end] !== 0) {
      labels.push(query.toString('latin1', end + 1, end + 1 + query[end]).toLowerCase())
      end += 1 + query[end]
    }
    const known = labels.join('.') === 'node.test'
    const found = known && query.readUInt16BE(end + 1) === 1
    const head = Buffer.from([query[0], query[1], 0x81, known ? 0x80 : 0x83, 0, 1, 0, found ? 1 : 0, 0, 0, 0, 0])
    const answer = found ? Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]) : Buffer.alloc(0)
    server.send(Buffer.concat([head, query.subarray(12, end + 5), answer]), peer.port, peer.address)
  })
  server.bind(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `127.0.0.1:${server.address().port}`
}

test('names are resolved, with no node', async (t) => {
  const server = await nameServer(t)
  assert.deepEqual(await resolveAddress('/dns4/node.test/tcp/1', { server }), ['/ip4/192.0.2.7/tcp/1'])
  assert.deepEqual(await resolveAddress('/ip4/1.2.3.4/tcp/1'), ['/ip4/1.2.3.4/tcp/1'])
  await assert.rejects(resolveAddress('/dns4/missing.test/tcp/1', { server }), code('NOT_FOUND'))
  await assert.rejects(resolveAddress('/dns4/node.test/tcp/1', { server: 'nonsense' }), /server/)
  await assert.rejects(resolveAddress('nonsense'), code('PARSE'))
})

test('resolving ends by its time and by its signal', async (t) => {
  const server = await nameServer(t, true)
  await assert.rejects(resolveAddress('/dns4/node.test/tcp/1', { server, timeout: 50 }), code('TIMEOUT'))
  const waiting = resolveAddress('/dns4/node.test/tcp/1', { server, signal: AbortSignal.timeout(20) })
  await assert.rejects(waiting, { name: 'TimeoutError' })
  const gone = new AbortController()
  gone.abort(new Error('enough'))
  await assert.rejects(resolveAddress('/dns4/node.test/tcp/1', { server, signal: gone.signal }), /enough/)
})

test('CIDs', () => {
  for (const v of vectors.cids) {
    const data = hex(v.data)
    assert.equal(makeCid(data, { codec: v.codec, hash: v.hash }), v.cid)
    assert.equal(formatCid(v.cid, { base: 'base58btc' }), v.base58btc)
    assert.equal(formatCid(v.base58btc), v.cid)
    assert.equal(cidToBytes(v.cid).toString('hex'), v.bytes)
    assert.equal(cidFromBytes(hex(v.bytes)), v.cid)
    const known = parseCid(v.cid)
    assert.deepEqual(
      [known.version, known.codec, known.hash, known.digest, known.v0],
      [1, v.codec, v.hash, v.digest, v.v0],
    )
    assert.ok(verifyCid(v.cid, data))
    assert.equal(verifyCid(v.cid, Buffer.concat([data, message])), false)
    if (v.v0) assert.equal(formatCid(v.v0, { version: 1 }), v.cid)
    else assert.throws(() => formatCid(v.cid, { version: 0 }), code('INVALID'))
  }
  assert.throws(() => verifyCid(`f01552208${'00'.repeat(8)}`, ''), code('UNSUPPORTED'))
  assert.throws(() => makeCid('', { codec: 'soup' }), /codec/)
  assert.throws(() => parseCid('nothing'), code('PARSE'))
})

test('nothing panicked', () => {
  assert.equal(runtimeInfo().panics, 0)
})
