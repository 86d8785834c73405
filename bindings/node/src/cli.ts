#!/usr/bin/env node
// The command line: small things that need no program.
import { parseArgs } from 'node:util'
import { createKey, peerIdOfKey } from './keys.js'
import { buildInfo, version } from './library.js'
import { createNode } from './node.js'

const usage = `usage: libp2pgo <command> [--json]

  version               the library's version
  id <key file>         the peer id of a private key
  key new <key file>    make a private key, readable by you alone, and print its peer id
                        --type ed25519 | secp256k1 | ecdsa | rsa
  ping <address>        measure round trips to a node
                        --count <n>
`

class UsageError extends Error {}

function parse() {
  try {
    return parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
        type: { type: 'string', default: 'ed25519' },
        count: { type: 'string', default: '4' },
      },
      allowPositionals: true,
    })
  } catch (error) {
    return fail(new UsageError((error as Error).message))
  }
}

function fail(error: unknown): never {
  const wrongUse = error instanceof UsageError
  process.stderr.write(`libp2pgo: ${(error as Error).message}\n${wrongUse ? `\n${usage}` : ''}`)
  process.exit(wrongUse ? 2 : 1)
}

const { values, positionals } = parse()

function print(text: string, facts: object): void {
  process.stdout.write(`${values.json ? JSON.stringify(facts) : text}\n`)
}

function argument(index: number, name: string): string {
  const value = positionals[index]
  if (value === undefined) throw new UsageError(`${name} is missing`)
  return value
}

async function ping(address: string, count: number): Promise<void> {
  if (!(count > 0)) throw new UsageError('--count: expected a number above 0')
  const node = await createNode({ listen: [] })
  try {
    const peer = await node.connect(address)
    for (let i = 0; i < count; i++) {
      const ms = await node.ping(peer)
      print(`${peer}: ${ms.toFixed(3)} ms`, { peer, ms })
    }
  } finally {
    await node.close()
  }
}

async function newKey(path: string): Promise<void> {
  const { writeFile } = await import('node:fs/promises')
  const key = createKey(values.type as 'ed25519')
  // 'wx': a key that exists is never overwritten.
  await writeFile(path, key, { mode: 0o600, flag: 'wx' })
  const peer = peerIdOfKey(key)
  print(peer, { peer, file: path })
}

async function id(path: string): Promise<void> {
  const { readFile } = await import('node:fs/promises')
  const peer = peerIdOfKey(await readFile(path))
  print(peer, { peer, file: path })
}

async function main(): Promise<void> {
  const [command, verb] = positionals
  if (values.help || command === undefined) process.stdout.write(usage)
  else if (command === 'version') print(version(), buildInfo())
  else if (command === 'id') await id(argument(1, 'key file'))
  else if (command === 'key' && verb === 'new') await newKey(argument(2, 'key file'))
  else if (command === 'ping') await ping(argument(1, 'address'), Number(values.count))
  else throw new UsageError(`unknown command: ${positionals.join(' ')}`)
}

await main().catch(fail)
