'use strict';
// sofa-bolt-node's codec by itself, for what its RPC client does not do: Bolt v2 with its checksum, one-way calls, heartbeats.
// `bolt.js client PORT [TLS]`, before sofa.js as the server, or before `bolt.js echo PORT [TLS]`, which answers every call with a text of its
// own. TLS: the folder of the certificate that both ends have.

const net = require('net');
const tls = require('tls');
const { certificate, check, isError, sleep, big, end } = require('./check');
const protocol = require('sofa-bolt-node');
const [role, port, folder] = process.argv.slice(2);

const secure = certificate(folder);
const text = value => ({ $class: 'java.lang.String', $: value });
const request = (method, args, more) => ({
  args, serverSignature: 'com.test.Echo:1.0', methodName: method, timeout: 20000,
  requestProps: { service: 'com.test.Echo:1.0' }, meta: {}, ...more,
});

// A connection of that version; the ids of each begin at the same number.
function connect(setup) {
  const sentReqs = new Map();
  const socket = secure ? tls.connect({ port, host: '127.0.0.1', servername: 'localhost', ca: secure.cert }) : net.connect(Number(port), '127.0.0.1');
  const [encoder, decoder] = [protocol.encoder({ sentReqs }), protocol.decoder({ sentReqs })];
  Object.assign(encoder, setup);
  encoder.pipe(socket).pipe(decoder);
  const waiting = new Map();
  const settle = answer => { waiting.get(answer.packetId)?.(answer); waiting.delete(answer.packetId); };
  decoder.on('response', settle).on('heartbeat_ack', settle).on('error', () => {});
  socket.on('error', () => {}).on('close', () => waiting.forEach(one => one({ data: { error: new Error('closed') } })));
  let last = 0;
  const answered = write => new Promise((done, give) => {
    const id = ++last;
    waiting.set(id, done);
    setTimeout(() => give(new Error(`no answer to ${id}`)), 20000).unref();
    write(id);
  });
  return {
    call: async (method, args, more) => {
      const req = request(method, args, more);
      const answer = await answered(id => { sentReqs.set(id, { req }); encoder.writeRequest(id, req); });
      if (answer.data.error) throw answer.data.error;
      return answer.data.appResponse;
    },
    oneway: (method, args) => encoder.writeRequest(++last, request(method, args, { oneway: true })),
    ping: () => answered(id => encoder.writeHeartbeat(id, { clientUrl: 'x' })),
    close: () => socket.destroy(),
  };
}

async function ask() {
  for (const [name, setup] of [
    ['v1', { boltVersion: 1 }],
    ['v2', { protocolType: 'bolt2', boltVersion: 2, crcEnable: false }],
    ['v2 with checksums', { protocolType: 'bolt2', boltVersion: 2, crcEnable: true }],
  ]) {
    const [one, two] = [connect(setup), connect(setup)];
    await check(`${name}: two clients with equal ids`, 100, async () => {
      const calls = Array.from({ length: 100 }, (_, at) => (at % 2 ? one : two).call('echo', [text(`call ${at}`)]));
      return (await Promise.all(calls)).filter((got, at) => got === `call ${at}`).length;
    });
    await check(`${name}: a one-way call gets no answer and holds nothing`, 'after', async () => {
      for (let at = 0; at < 100; at++) one.oneway('echo', [text('fire')]);
      return one.call('echo', [text('after')]);
    });
    await check(`${name}: 3 MB`, got => got === big, () => one.call('echo', [text(big)]));
    await check(`${name}: exception`, isError('boom'), () => one.call('fail', [text('boom')]));
    await check(`${name}: heartbeat`, got => !(got instanceof Error), () => one.ping());
    one.close();
    two.close();
  }
  end();
}

// A server that knows no types: it gives the text of the first argument back, under the protocol it was asked in.
function serve() {
  const listen = secure ? serving => tls.createServer(secure, serving) : serving => net.createServer(serving);
  listen(socket => {
    const sentReqs = new Map();
    const [encoder, decoder] = [protocol.encoder({ sentReqs }), protocol.decoder({ sentReqs })];
    encoder.pipe(socket).pipe(decoder);
    socket.on('error', () => {});
    decoder.on('error', () => socket.destroy());
    decoder.on('heartbeat', ping => encoder.writeHeartbeatAck(ping));
    decoder.on('request', async req => {
      const [method, [first]] = [req.data.methodName, req.data.args];
      if (req.oneway) return;
      if (method === 'slow') await sleep(first);
      const isError = method === 'fail';
      encoder.writeResponse(req, { isError, errorMsg: isError ? first : null, appResponse: isError ? null : text(first) });
    });
  }).listen(port, () => console.log('ready'));
}

if (role === 'echo') serve();
else ask().catch(error => { console.log('FAIL', error); process.exit(1); });
