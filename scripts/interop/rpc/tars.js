'use strict';
// @tars/rpc: `tars.js server|client PORT`. Results are written by hand, as its compiler would have it.

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { check, isError, sleep, big, until, outlives, end } = require('./check');
const Tars = require('@tars/rpc');
const TarsStream = require('@tars/stream');
const [role, port] = process.argv.slice(2);
const SERVANT = 'Test.Echo.EchoObj';

function serve() {
  class Echo {
    initialize() {}
    onDispatch(current, method, input) {
      const stream = new TarsStream.TarsInputStream(input);
      const answer = value => {
        const out = new TarsStream.TarsOutputStream();
        out.writeString(0, value);
        current.doResponse(out.getBinBuffer());
      };
      switch (method) {
        case 'tars_ping': { const out = new TarsStream.TarsOutputStream(); out.writeInt32(0, 0); current.doResponse(out.getBinBuffer()); return 0; }
        case 'echo': answer(stream.readString(1, true)); return 0;
        case 'tenant': answer(current.getContext().get('tenant') || ''); return 0;
        case 'slow': { const millis = stream.readInt32(1, true); sleep(millis).then(() => answer('slept')); return 0; }
        case 'die': process.exit(0);
        default: return -3;
      }
    }
  }
  Tars.server.createServer(Echo).start({ endpoint: `tcp -h 127.0.0.1 -p ${port} -t 60000`, servant: SERVANT, protocol: 'tars', maxconns: 1000 });
  console.log('ready');
}

function Proxy() {}
Proxy.prototype.call = function (method, write, more) {
  const out = new TarsStream.TarsOutputStream();
  if (write) write(out);
  return this._worker.tars_invoke(method, out.getBinBuffer(), more).then(
    data => new TarsStream.TarsInputStream(data.response.sBuffer).readString(0, true),
    data => { throw new Error(`${data.error?.code} ${data.error?.message}`); });
};

function connect(servant = SERVANT, timeout = 20000) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tars-'));
  const file = path.join(folder, 'client.conf');
  fs.writeFileSync(file, `<tars>\n<application>\n<client>\nmodulename=Test\nasync-invoke-timeout=${timeout}\n</client>\n</application>\n</tars>\n`);
  const communicator = Tars.Communicator.New();
  communicator.initialize(file);
  fs.rmSync(folder, { recursive: true });
  const proxy = communicator.stringToProxy(Proxy, `${servant}@tcp -h 127.0.0.1 -p ${port} -t ${timeout}`);
  proxy._worker.timeout = timeout;
  return proxy;
}

// A call of TUP over a bare connection.
const tup = (method, value, servant = SERVANT) => new Promise((done, give) => {
  const socket = net.connect(Number(port), '127.0.0.1', () => {
    const call = new TarsStream.Tup();
    call.tupVersion = TarsStream.Tup.TUP_COMPLEX;
    Object.assign(call, { servantName: servant, funcName: method, requestId: 77 });
    call.writeString('x', value);
    socket.write(call.encode().toNodeBuffer());
  });
  socket.setTimeout(20000, () => give(new Error('no answer')));
  socket.on('error', give).on('data', data => {
    const answer = new TarsStream.Tup();
    answer.decode(new TarsStream.BinBuffer(data));
    done(`${answer.getTarsResultCode()} ${answer.getTarsResultDesc()}`);
    socket.destroy();
  });
});

async function ask() {
  const [one, two] = [connect(), connect()];
  const say = (proxy, value, more) => proxy.call('echo', out => out.writeString(1, value), more);
  await check('echo', 'hello', () => say(one, 'hello'));
  await check('3 MB', got => got === big, () => say(one, big));
  await check('out of order', 'quick,slept', async () => {
    const order = [];
    const slow = one.call('slow', out => out.writeInt32(1, 400));
    await Promise.all([slow, say(one, 'quick')].map(call => call.then(got => order.push(got))));
    return order.join();
  });
  await check('two clients with equal ids', 200, async () => {
    const calls = Array.from({ length: 200 }, (_, at) => say(at % 2 ? one : two, `call ${at}`));
    return (await Promise.all(calls)).filter((got, at) => got === `call ${at}`).length;
  });
  await check('the route writes into the context', 'blue', () => one.call('tenant', null, { context: { other: 'x' } }));
  await check('heartbeat', 0, () => one._worker.tars_invoke('tars_ping', new TarsStream.TarsOutputStream().getBinBuffer()).then(data => data.response.iRet));
  await check('one-way calls, then a call', 'after', async () => {
    for (let at = 0; at < 20; at++) one._worker.tars_invoke('echo', new TarsStream.TarsOutputStream().getBinBuffer(), { packetType: 1 }).catch(() => {});
    return say(one, 'after');
  });
  await check('unknown method', isError('-3'), () => one.call('nothing'));
  await check('no route', isError('-4'), () => say(connect('Nowhere.Echo.EchoObj'), 'x'));
  await check('no route, by TUP', got => String(got).startsWith('-4'), () => tup('echo', 'x', 'Nowhere.Echo.EchoObj'));
  await check('timeout', isError(), () => connect(SERVANT, 300).call('slow', out => out.writeInt32(1, 2000)));
  await check('after the timeout', 'again', () => say(one, 'again'));
  await check('upstream killed mid-call', isError(), () => one.call('die'));
  await check('after it came back', 'back', () => until('back', () => say(connect(), 'back')));
  await outlives(millis => one.call('slow', out => out.writeInt32(1, millis)), value => say(one, value));
  end();
}

if (role === 'server') serve();
else ask().catch(error => { console.log('FAIL', error); process.exit(1); });
