'use strict';
// @apachedubbo/dubbo (Triple, and gRPC by the same service): `triple.js server|client PORT [TLS]`, TLS being the folder of
// the certificate that both ends have. Messages are texts.

const http2 = require('http2');
const { certificate, check, sleep, big, until, outlives, end } = require('./check');
const { StringValue, MethodKind } = require('@bufbuild/protobuf');
const { createPromiseClient, Code, DubboError } = require('@apachedubbo/dubbo');
const { createDubboTransport, createGrpcTransport, dubboNodeAdapter } = require('@apachedubbo/dubbo-node');
const [role, port, folder] = process.argv.slice(2);
const secure = certificate(folder);

const method = (name, kind = MethodKind.Unary) => ({ name, I: StringValue, O: StringValue, kind });
const service = typeName => ({
  typeName,
  methods: {
    echo: method('echo'),
    slow: method('slow'),
    fail: method('fail'),
    die: method('die'),
    nothing: method('nothing'),
    count: method('count', MethodKind.ServerStreaming),
    join: method('join', MethodKind.ClientStreaming),
    chat: method('chat', MethodKind.BiDiStreaming),
  },
});
const Echo = service('com.test.Echo');
// Calls of gRPC, and streams of Triple, it makes without saying a version or a group.
const Plain = service('com.test.Plain');
const version = { serviceVersion: '1.0.0', serviceGroup: 'blue' };
const text = value => new StringValue({ value });

function serve() {
  const { nothing, ...methods } = Echo.methods;
  const served = {
    echo: value => value,
    slow: async ({ value }) => { await sleep(Number(value)); return text('slept'); },
    fail: ({ value }) => { throw new DubboError(value, Code.FailedPrecondition); },
    die: () => process.exit(0),
    async *count({ value }) { for (let at = 0; at < Number(value); at++) yield text(String(at)); },
    async join(all) { let joined = ''; for await (const { value } of all) joined += value; return text(joined); },
    async *chat(all) { for await (const { value } of all) yield text(`${value}!`); },
  };
  const routes = router => router.service({ ...Echo, methods }, served, version).service({ ...Plain, methods }, served);
  const adapter = dubboNodeAdapter({ routes });
  (secure ? http2.createSecureServer(secure, adapter) : http2.createServer(adapter)).listen(port, () => console.log('ready'));
}

async function ask() {
  const base = secure ? { baseUrl: `https://localhost:${port}`, nodeOptions: { ca: secure.cert } } : { baseUrl: `http://127.0.0.1:${port}` };
  const transports = {
    'Triple': createDubboTransport({ ...base, httpVersion: '2' }),
    'Triple over HTTP/1.1': createDubboTransport({ ...base, httpVersion: '1.1' }),
    'gRPC': createGrpcTransport({ ...base, httpVersion: '2' }),
  };
  const value = async call => (await call).value;
  for (const [name, transport] of Object.entries(transports)) {
    const isGrpc = name === 'gRPC';
    const plain = createPromiseClient(Plain, transport);
    const echo = isGrpc ? plain : createPromiseClient(Echo, transport, version);
    const isCode = code => got => got instanceof DubboError && got.code === code;
    const isHttp1 = name.includes('1.1');
    await check(`${name}: echo`, 'hello', () => value(echo.echo(text('hello'))));
    await check(`${name}: 3 MB`, got => got === big, () => value(echo.echo(text(big))));
    await check(`${name}: out of order`, 'quick,slept', async () => {
      const order = [];
      await Promise.all([echo.slow(text('400')), echo.echo(text('quick'))].map(one => one.then(got => order.push(got.value))));
      return order.join();
    });
    await check(`${name}: 100 at once`, 100, async () => {
      const got = await Promise.all(Array.from({ length: 100 }, (_, at) => value(echo.echo(text(`call ${at}`)))));
      return got.filter((one, at) => one === `call ${at}`).length;
    });
    await check(`${name}: a stream of the server's`, '0,1,2,3,4', async () => {
      const got = [];
      for await (const one of plain.count(text('5'))) got.push(one.value);
      return got.join();
    });
    const three = async function* () { for (const one of ['a', 'b', 'c']) yield text(one); };
    await check(`${name}: a stream of the client's`, 'abc', () => value(plain.join(three())));
    if (!isHttp1) {
      await check(`${name}: streams of both`, 'a!b!c!', async () => {
        let got = '';
        for await (const one of plain.chat(three())) got += one.value;
        return got;
      });
    }
    await check(`${name}: exception`, isCode(Code.FailedPrecondition), () => echo.fail(text('boom')));
    await check(`${name}: unknown method`, isCode(Code.Unimplemented), () => echo.nothing(text('x')));
    // The server says of what it does not know just that: of a route that is not there, the proxy.
    const other = (typeName, more) => createPromiseClient(service(typeName), transport, { ...version, ...more });
    await check(`${name}: unknown service`, isCode(Code.Unimplemented), () => other('com.test.Missing').echo(text('x')));
    await check(`${name}: no route`, isCode(Code.Unimplemented), () => other('org.nowhere.Echo').echo(text('x')));
    await check(`${name}: no route for the group`, isCode(Code.Unimplemented), () => other('com.test.Echo', { serviceGroup: 'red' }).echo(text('x')));
    await check(`${name}: timeout`, isCode(Code.DeadlineExceeded), () => echo.slow(text('2000'), { timeoutMs: 300 }));
    await check(`${name}: after the timeout`, 'again', () => value(echo.echo(text('again'))));
    await check(`${name}: upstream killed mid-call`, got => got instanceof DubboError, () => echo.die(text('')));
    await check(`${name}: after it came back`, 'back', () => until('back', () => value(echo.echo(text('back')))));
  }
  const echo = createPromiseClient(Echo, transports.Triple, version);
  await outlives(millis => value(echo.slow(text(String(millis)))), one => value(echo.echo(text(one))));
  end();
}

if (role === 'server') serve();
else ask().catch(error => { console.log('FAIL', error); process.exit(1); });
