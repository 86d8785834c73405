#!/usr/bin/env node
// The command line: small things that need no program.
import { parseArgs } from 'node:util'
import {
  createKey,
  exportKey,
  exportPublicKey,
  importKey,
  type KeyFormat,
  peerIdOfKey,
  publicKeyInfo,
  publicKeyOf,
} from './keys.js'
import { buildInfo, version } from './library.js'
import { createNode } from './node.js'
import type { KeyType } from './options.js'

const usage = `usage: libp2pgo <command> [--json]

  version               the library's version
  id <key file>         the peer id of a private key
  key new <key file>    make a private key, readable by you alone, and print its peer id
                        --type ed25519 | secp256k1 | ecdsa | rsa
                        --format protobuf | base64 | pem | raw
  key show <key file>   what is public of a private key that libp2p, Kubo or openssl wrote
  key convert <key file> <new file>
                        write a private key once more, in another --format
  explain <address>...  why a peer can, or cannot, be reached; exit code 1 if nothing leads to it
                        --protocol <name>, --private-network <swarm.key file>
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
        format: { type: 'string', default: 'protobuf' },
        count: { type: 'string', default: '4' },
        protocol: { type: 'string' },
        'private-network': { type: 'string' },
      },
      allowPositionals: true,
    })
  } catch (error) {
    return fail(new UsageError((error as Error).message))
  }
}

function fail(error: unknown): never {
  // Who read our output has seen enough of it, as `head` does.
  if ((error as { code?: unknown }).code === 'EPIPE') process.exit(0)
  const wrongUse = error instanceof UsageError
  process.stderr.write(`libp2pgo: ${(error as Error).message}\n${wrongUse ? `\n${usage}` : ''}`)
  process.exit(wrongUse ? 2 : 1)
}

const { values, positionals } = parse()

// A write's callback is told what went wrong; an event that nobody heard would end the process first.
process.stdout.on('error', () => {})

function say(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()))
  })
}

function print(text: string, facts: object): Promise<void> {
  return say(`${values.json ? JSON.stringify(facts) : text}\n`)
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
      await print(`${peer}: ${ms.toFixed(3)} ms`, { peer, ms })
    }
  } finally {
    await node.close()
  }
}

async function explain(addresses: string[]): Promise<void> {
  const node = await createNode({ listen: [], private_network: values['private-network'] })
  try {
    const found = await node.explain(addresses, { protocol: values.protocol, timeout: Number.POSITIVE_INFINITY })
    await print(found.text.trimEnd(), found)
    if (!['self', 'connected', 'reachable', 'relay_only'].includes(found.verdict)) process.exitCode = 1
  } finally {
    await node.close()
  }
}

async function writeKey(key: Buffer, path: string): Promise<void> {
  const { writeFile } = await import('node:fs/promises')
  // 'wx': a key that exists is never overwritten.
  await writeFile(path, exportKey(key, values.format as KeyFormat), { mode: 0o600, flag: 'wx' })
  const peer = peerIdOfKey(key)
  await print(peer, { peer, file: path })
}

async function readKey(path: string): Promise<Buffer> {
  const { readFile } = await import('node:fs/promises')
  return importKey(await readFile(path))
}

async function id(path: string): Promise<void> {
  const peer = peerIdOfKey(await readKey(path))
  await print(peer, { peer, file: path })
}

async function showKey(path: string): Promise<void> {
  const key = publicKeyOf(await readKey(path))
  const known = { ...publicKeyInfo(key), public: exportPublicKey(key, 'base64').toString() }
  await print(`${known.type} ${known.peer}\n${known.cid}\n${known.public}`, known)
}

async function main(): Promise<void> {
  const [command, verb] = positionals
  if (values.help || command === undefined) await say(usage)
  else if (command === 'version') await print(version(), buildInfo())
  else if (command === 'id') await id(argument(1, 'key file'))
  else if (command === 'key' && verb === 'new')
    await writeKey(createKey(values.type as KeyType), argument(2, 'key file'))
  else if (command === 'key' && verb === 'show') await showKey(argument(2, 'key file'))
  else if (command === 'key' && verb === 'convert')
    await writeKey(await readKey(argument(2, 'key file')), argument(3, 'new file'))
  else if (command === 'explain') {
    argument(1, 'address')
    await explain(positionals.slice(1))
  } else if (command === 'ping') await ping(argument(1, 'address'), Number(values.count))
  else throw new UsageError(`unknown command: ${positionals.join(' ')}`)
}

await main().catch(fail)
