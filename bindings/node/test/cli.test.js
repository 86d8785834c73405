// The command line.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { open, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { collect, next, startNode, UNIT, workFolder } from './helpers.js'

const cli = fileURLToPath(new URL('../dist/cli.js', import.meta.url))

function run(...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [cli, ...args], { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error?.code ?? 0, stdout, stderr })
    })
  })
}

test('version', async () => {
  assert.match((await run('version')).stdout, /^\d+\.\d+\.\d+\n$/)
  const facts = JSON.parse((await run('version', '--json')).stdout)
  assert.equal(facts.abi, 1)
})

test('key new makes a key that only we can read, id reads it, and it is never overwritten', async (t) => {
  const file = join(await workFolder(t), 'key')
  const made = await run('key', 'new', file)
  assert.match(made.stdout, /^12D3KooW\w+\n$/)
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.equal((await run('id', file)).stdout, made.stdout)
  assert.equal(JSON.parse((await run('id', file, '--json')).stdout).peer, made.stdout.trim())
  const again = await run('key', 'new', file)
  assert.equal(again.code, 1)
  assert.match(again.stderr, /EEXIST/)
})

test('key convert and show know the forms of others', async (t) => {
  const folder = await workFolder(t)
  const [file, pem] = [join(folder, 'key'), join(folder, 'key.pem')]
  const made = await run('key', 'new', file, '--type', 'ecdsa')
  assert.equal((await run('key', 'convert', file, pem, '--format', 'pem')).stdout, made.stdout)
  assert.equal((await run('id', pem)).stdout, made.stdout)
  const shown = JSON.parse((await run('key', 'show', pem, '--json')).stdout)
  assert.equal(shown.type, 'ecdsa')
  assert.equal(shown.peer, made.stdout.trim())
  assert.match((await run('key', 'convert', file, join(folder, 'x'), '--format', 'jwk')).stderr, /jwk/)
})

test('ping measures', async (t) => {
  const node = await startNode(t)
  const { code, stdout, stderr } = await run('ping', node.addresses[0], '--count', '2', '--json')
  assert.equal(code, 0, stderr)
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(lines.length, 2)
  for (const { peer, ms } of lines) {
    assert.equal(peer, node.id)
    assert.ok(ms > 0)
  }
})

test('a reader that goes away ends the command quietly', async (t) => {
  const node = await startNode(t)
  const child = spawn(process.execPath, [cli, 'ping', node.addresses[0], '--count', '1000000'])
  t.after(() => child.kill())
  const ended = next(child, 'close', 20 * UNIT)
  const words = collect(child.stderr)
  await next(child.stdout, 'data', 20 * UNIT)
  child.stdout.destroy()
  assert.deepEqual({ code: await ended, stderr: (await words).toString() }, { code: 0, stderr: '' })
})

test('output that cannot be written is an error', async (t) => {
  const full = await open('/dev/full', 'w')
  t.after(() => full.close())
  for (const command of ['version', '--help']) {
    const child = spawn(process.execPath, [cli, command], { stdio: ['ignore', full.fd, 'pipe'] })
    const ended = next(child, 'close', 20 * UNIT)
    assert.match((await collect(child.stderr)).toString(), /^libp2pgo: ENOSPC.*\n$/)
    assert.equal(await ended, 1)
  }
})

test('wrong use is explained', async () => {
  for (const args of [['nonsense'], ['id'], ['--nonsense'], ['ping', 'x', '--count', '0']]) {
    const { code, stderr } = await run(...args)
    assert.equal(code, 2, args.join(' '))
    assert.match(stderr, /usage/)
  }
  assert.match((await run('--help')).stdout, /^usage/)
})

test('an address that is none is an error', async () => {
  const { code, stderr } = await run('ping', 'nowhere')
  assert.equal(code, 1)
  assert.match(stderr, /^libp2pgo: .*nowhere/)
})

test('explain says why a peer cannot be reached, and that it can', async (t) => {
  const node = await startNode(t)
  const good = await run('explain', node.addresses[0])
  assert.equal(good.code, 0, good.stderr)
  assert.match(good.stdout, /\[reachable\]/)
  const nobody = node.addresses[0].replace(/tcp\/\d+/, 'tcp/1')
  const bad = await run('explain', '--json', nobody)
  assert.equal(bad.code, 1)
  assert.equal(JSON.parse(bad.stdout).verdict, 'nobody_listens')
  assert.equal((await run('explain')).code, 2)
})
