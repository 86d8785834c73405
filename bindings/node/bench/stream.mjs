// Watched records against a detached socket: what each costs over a real stream. Both ends are processes of their own.
//
//   node bench/stream.mjs [watch|socket]
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { createNode } from 'libp2pgo'

const MIB = 1024 * 1024
const PROTOCOL = { echo: '/bench/echo/1', sink: '/bench/sink/1' }
const carriers = { watch: (stream) => stream, socket: (stream) => stream.detach() }

async function serve(carrier) {
  const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0'] })
  node.handle(PROTOCOL.echo, (stream) => {
    const duplex = carrier(stream)
    duplex.on('error', () => {})
    duplex.on('data', (chunk) => duplex.write(chunk))
    duplex.on('end', () => duplex.end())
  })
  node.handle(PROTOCOL.sink, (stream) => {
    const duplex = carrier(stream)
    let bytes = 0
    const start = process.cpuUsage()
    duplex.on('data', (chunk) => {
      bytes += chunk.length
    })
    duplex.on('end', () => {
      const { user, system } = process.cpuUsage(start)
      duplex.end(JSON.stringify({ bytes, cpu: user + system }))
    })
  })
  process.send({ addresses: node.addresses })
  process.on('disconnect', () => process.exit())
}

async function measure(name) {
  const carrier = carriers[name]
  const child = fork(fileURLToPath(import.meta.url), ['serve', name])
  const { addresses } = await new Promise((resolve) => child.once('message', resolve))
  const node = await createNode({ listen: [] })
  const peer = await node.connect(addresses)

  const open = async (protocol) => carrier(await node.open(peer, protocol))

  const echo = await open(PROTOCOL.echo)
  const times = []
  const payload = Buffer.alloc(32)
  for (let i = 0; i < 5000; i++) {
    const start = performance.now()
    echo.write(payload)
    await new Promise((resolve) => echo.once('data', resolve))
    times.push((performance.now() - start) * 1000)
  }
  echo.destroy()
  times.sort((a, b) => a - b)

  const total = 512 * MIB
  const sink = await open(PROTOCOL.sink)
  const chunk = Buffer.alloc(64 * 1024)
  const cpu = process.cpuUsage()
  const start = performance.now()
  for (let sent = 0; sent < total; sent += chunk.length) {
    if (!sink.write(chunk)) await new Promise((resolve) => sink.once('drain', resolve))
  }
  sink.end()
  let report = ''
  sink.setEncoding('utf8').on('data', (text) => {
    report += text
  })
  await new Promise((resolve) => sink.once('end', resolve))
  const seconds = (performance.now() - start) / 1000
  const { user, system } = process.cpuUsage(cpu)
  const received = JSON.parse(report)
  if (received.bytes !== total) throw new Error(`${received.bytes} of ${total} bytes arrived`)

  const before = process.memoryUsage.rss()
  const opening = performance.now()
  const streams = []
  for (let i = 0; i < 500; i++) {
    const stream = await open(PROTOCOL.echo)
    stream.on('error', () => {})
    stream.resume()
    streams.push(stream)
  }
  const openMs = performance.now() - opening
  const kib = (process.memoryUsage.rss() - before) / 1024 / streams.length
  for (const stream of streams) stream.destroy()

  await node.close()
  child.disconnect()
  return {
    carrier: name,
    'round trip p50 us': Math.round(times[times.length >> 1]),
    'p99 us': Math.round(times[Math.floor(times.length * 0.99)]),
    'MiB/s': Math.round(total / MIB / seconds),
    'sender CPU us/MiB': Math.round((user + system) / (total / MIB)),
    'receiver CPU us/MiB': Math.round(received.cpu / (total / MIB)),
    'open us': Math.round((openMs * 1000) / streams.length),
    'RSS KiB/stream': Number(kib.toFixed(1)),
  }
}

const [role = 'all', name] = process.argv.slice(2)
if (role === 'serve') await serve(carriers[name])
else {
  const names = role === 'all' ? ['watch', 'socket', 'watch', 'socket'] : [role]
  const rows = []
  for (const each of names) rows.push(await measure(each))
  console.table(rows)
}
