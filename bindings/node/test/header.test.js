// The tables of this binding and the library against the checked list of the header (tests/abi).
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ABI, E, EVENT, FLAG, KIND, PENDING, VERDICT } from '../dist/constants.js'
import { native, signatures } from '../dist/ffi.js'

const list = JSON.parse(readFileSync(new URL('../../../tests/abi/libp2p.abi.json', import.meta.url), 'utf8'))

const parameterTypes = {
  int: 'i32',
  int32_t: 'i32',
  uint32_t: 'u32',
  int64_t: 'i64',
  uint64_t: 'u64',
  p2p_handle: 'u64',
  size_t: 'size',
  'const char *': 'text',
  'const uint8_t *': 'bytes',
  'const p2p_call *': 'bytes',
  'void *': 'block',
  void: 'void',
}

/** What the table should say of a C type; any other pointer is memory of ours that the library fills. */
function tableType(type) {
  const known = parameterTypes[type]
  if (!known) assert.match(type, /\*$/, `a type that the table has no word for: ${type}`)
  return known ?? 'out'
}

test('the signature table has every function of the header, with its types', () => {
  const expected = Object.entries(list.functions).map(([name, { returns, parameters }]) => [
    name,
    [tableType(returns), ...parameters.map(({ type }) => tableType(type))],
  ])
  const table = Object.entries(signatures).map(([name, types]) => [name, [...types]])
  assert.deepEqual(Object.fromEntries(table), Object.fromEntries(expected))
})

for (const [numbers, prefix] of [
  [E, 'P2P_E_'],
  [KIND, 'P2P_KIND_'],
  [EVENT, 'P2P_EVENT_'],
  [FLAG, 'P2P_FLAG_'],
  [VERDICT, 'P2P_VERDICT_'],
]) {
  test(`the numbers ${prefix} are the header's`, () => {
    const expected = Object.entries(list.constants)
      .filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value])
    assert.ok(expected.length > 0)
    assert.deepEqual({ ...numbers }, Object.fromEntries(expected))
  })
}

test('the ABI number is the same in the header, the library and here', () => {
  assert.equal(ABI, list.constants.P2P_ABI)
  assert.equal(PENDING, list.constants.P2P_PENDING)
  assert.equal(native().p2p_abi(), ABI)
})

test('the library has every function of the table', () => {
  for (const name of Object.keys(signatures)) assert.equal(typeof native()[name], 'function', name)
})

test('the library names every error code as we do', () => {
  for (const [name, number] of Object.entries(E)) {
    assert.equal(native().p2p_error_name(number), `P2P_E_${name}`)
  }
})
