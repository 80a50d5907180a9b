'use strict';
// sofa-rpc-node, whose protocol is Bolt with Hessian, or Dubbo by dubbo-remoting: `sofa.js bolt|dubbo server|client PORT`.

const { check, isError, sleep, big, emoji, until, outlives, end } = require('./check');
const [kind, role, port] = process.argv.slice(2);
const protocol = kind === 'dubbo' ? require('dubbo-remoting') : require('sofa-bolt-node');
const version = kind === 'dubbo' ? '1.0.0' : '1.0';
const logger = { info() {}, debug() {}, warn() {}, error() {} };

const text = value => ({ $class: 'java.lang.String', $: value });
const int = value => ({ $class: 'int', $: value });

async function serve() {
  const { RpcServer } = require('sofa-rpc-node').server;
  const server = new RpcServer({ logger, port, protocol, version });
  server.addService({ interfaceName: 'com.test.Echo', version }, {
    async echo(value) { return value; },
    async plus(a, b) { return a + b; },
    async slow(millis) { await sleep(millis); return 'slept'; },
    async fail(value) { throw new Error(value); },
    async die() { process.exit(0); },
  });
  await server.start();
  console.log('ready');
}

async function ask() {
  const { RpcClient } = require('sofa-rpc-node').client;
  const connect = name => new RpcClient({ logger, protocol }).createConsumer({
    interfaceName: name, version, serverHost: `${kind}://127.0.0.1:${port}`, connectionOpts: { protocol },
  });
  const consumer = connect('com.test.Echo');
  await consumer.ready();
  const call = (method, args, limit = 20000, on = consumer) => on.invoke(method, args, { responseTimeout: limit });
  await check('echo', 'hello', () => call('echo', [text('hello')]));
  await check('two numbers', 5, () => call('plus', [int(2), int(3)]));
  await check('3 MB', got => got === big, () => call('echo', [text(big)]));
  await check('letters of all planes', got => got === emoji, () => call('echo', [text(emoji)]));
  await check('out of order', 'quick,slept', async () => {
    const order = [];
    await Promise.all([call('slow', [int(400)]), call('echo', [text('quick')])].map(one => one.then(got => order.push(got))));
    return order.join();
  });
  await check('200 at once', 200, async () => {
    const texts = Array.from({ length: 200 }, (_, at) => `call ${at}`);
    const got = await Promise.all(texts.map(one => call('echo', [text(one)])));
    return got.filter((one, at) => one === texts[at]).length;
  });
  await check('exception', isError('boom'), () => call('fail', [text('boom')]));
  await check('unknown method', isError(), () => call('nothing', [text('x')]));
  await check('unknown service', isError(), () => call('echo', [text('x')], 20000, connect('com.test.Missing')));
  // Of Bolt it tells all errors without content by the same words.
  await check('no route', isError(kind === 'dubbo' ? 'no route' : ''), () => call('echo', [text('x')], 20000, connect('org.nowhere.Echo')));
  await check('timeout', isError(), () => call('slow', [int(2000)], 300));
  await check('after the timeout', 'again', () => call('echo', [text('again')]));
  await check('upstream killed mid-call', isError(), () => call('die', [], 20000));
  await check('after it came back', 'back', () => until('back', () => call('echo', [text('back')], 5000)));
  await outlives(millis => call('slow', [int(millis)]), value => call('echo', [text(value)]));
  end();
}

(role === 'server' ? serve() : ask()).catch(error => { console.log('FAIL', error); process.exit(1); });
