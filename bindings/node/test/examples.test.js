// The examples, run as a user runs them.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { until } from './helpers.js'

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url))
const packageFolder = fileURLToPath(new URL('..', import.meta.url))

describe('examples', () => {
  let folder

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'libp2pgo-'))
    await mkdir(join(folder, 'node_modules'))
    await symlink(packageFolder, join(folder, 'node_modules', 'libp2pgo'))
    for (const name of ['echo', 'request', 'chat'])
      await cp(join(examples, name), join(folder, name), { recursive: true })
  })

  after(() => rm(folder, { recursive: true }))

  function start(t, name, ...args) {
    const child = spawn(process.execPath, [join(folder, name, `${name}.mjs`), ...args])
    const program = { child, stdout: '', stderr: '', code: undefined }
    child.stdout.on('data', (data) => {
      program.stdout += data
    })
    child.stderr.on('data', (data) => {
      program.stderr += data
    })
    child.on('close', (code) => {
      program.code = code
    })
    t.after(() => child.kill('SIGKILL'))
    return program
  }

  async function serve(t, name, ...args) {
    const program = start(t, name, ...args)
    await until(() => program.stdout.includes('\n\n') || program.code !== undefined, 'the addresses')
    assert.equal(program.code, undefined, program.stderr)
    const [addresses] = program.stdout.split('\n\n')
    return { program, addresses: addresses.split('\n') }
  }

  async function output(t, name, ...args) {
    const program = start(t, name, ...args)
    await until(() => program.code !== undefined, `the end of ${name} ${args.join(' ')}`)
    assert.equal(program.code, 0, program.stderr)
    return program.stdout
  }

  async function stop({ child, ...program }) {
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.kill('SIGINT')
    assert.equal(await ended, 0, program.stderr)
  }

  test('echo', async (t) => {
    const { program, addresses } = await serve(t, 'echo', 'serve')
    assert.equal(addresses.length, 2)
    for (const address of addresses) assert.equal(await output(t, 'echo', 'dial', address, 'hello'), 'hello\n')
    await stop(program)
  })

  test('request', async (t) => {
    const { program, addresses } = await serve(t, 'request', 'serve')
    assert.equal(await output(t, 'request', 'ask', addresses[0], 'upper', 'grüße'), 'GRÜSSE\n')
    assert.equal(await output(t, 'request', 'ask', addresses[0], 'count', '3'), '1\n2\n3\n')
    await stop(program)
  })

  test('chat', async (t) => {
    const ann = await serve(t, 'chat', '--listen', '/ip4/127.0.0.1/tcp/0')
    const bob = await serve(t, 'chat', ann.addresses[0])
    await until(() => ann.program.stdout.includes('is here') && bob.program.stdout.includes('is here'), 'them to meet')
    // Pubsub keeps nothing for who is not in the mesh yet, so a line is said until it is heard.
    const say = async (from, to, line) => {
      const talking = setInterval(() => from.child.stdin.write(`${line}\n`), 200)
      await until(() => to.stdout.includes(`: ${line}`), line).finally(() => clearInterval(talking))
    }
    await say(ann.program, bob.program, 'hello bob')
    await say(bob.program, ann.program, 'hello ann')
    ann.program.child.stdin.end()
    await until(() => ann.program.code === 0, 'the end of input to end the program')
    await stop(bob.program)
  })
})
