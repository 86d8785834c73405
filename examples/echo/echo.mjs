// Echo: every byte that a peer sends comes back.
//
//   node echo.mjs serve
//   node echo.mjs dial <address> <text>
import { createNode } from 'libp2pgo'

const PROTOCOL = '/examples/echo/1.0.0'

async function serve() {
  const node = await createNode({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/udp/0/quic-v1'] })
  node.handle(PROTOCOL, async (stream) => {
    for await (const chunk of stream) {
      if (!stream.write(chunk)) await new Promise((resolve) => stream.once('drain', resolve))
    }
  })
  for (const address of node.addresses) console.log(address)
  console.log()
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => node.close())
}

async function dial(address, text) {
  const node = await createNode({ listen: [] })
  try {
    const stream = await node.open(await node.connect(address), PROTOCOL)
    stream.end(text)
    const echo = []
    for await (const chunk of stream) echo.push(chunk)
    console.log(Buffer.concat(echo).toString())
  } finally {
    await node.close()
  }
}

function fail(error) {
  console.error(`echo: ${error.message}`)
  process.exitCode = 1
}

const [command, address, text] = process.argv.slice(2)
if (command === 'serve') await serve().catch(fail)
else if (command === 'dial' && text !== undefined) await dial(address, text).catch(fail)
else {
  console.error('usage: echo.mjs serve | dial <address> <text>')
  process.exitCode = 2
}
