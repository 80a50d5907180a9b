'use strict';
// Consumers of Dubbo in JavaScript: `dubbo.js dubbo2.js|apache-dubbo-js PORT`, before sofa.js or dubbo.py as the provider.

const { check, isError, big, emoji, until, outlives, end } = require('./check');
const [name, port] = process.argv.slice(2);
const { DirectlyDubbo, java } = require(name);

async function ask() {
  const connect = () => DirectlyDubbo.from({ dubboAddress: `127.0.0.1:${port}`, dubboVersion: '2.0.2', dubboInvokeTimeout: 30 });
  const proxy = (dubbo, dubboInterface, timeout = 20000) => dubbo.proxyService({
    dubboInterface, version: '1.0.0', timeout,
    methods: {
      echo: value => [java.String(value)],
      plus: (a, b) => [java.int(a), java.int(b)],
      fail: value => [java.String(value)],
      slow: millis => [java.int(millis)],
      nothing: () => [],
      die: () => [],
    },
  });
  const dubbo = connect();
  const echo = proxy(dubbo, 'com.test.Echo');
  const result = async promise => { const { res, err } = await promise; if (err) throw err; return res; };
  await check('echo', 'hello', () => result(echo.echo('hello')));
  await check('two numbers', 5, () => result(echo.plus(2, 3)));
  await check('3 MB', got => got === big, () => result(echo.echo(big)));
  await check('letters of all planes', got => got === emoji, () => result(echo.echo(emoji)));
  await check('two clients at once', 100, async () => {
    const other = proxy(connect(), 'com.test.Echo');
    const calls = Array.from({ length: 100 }, (_, at) => result((at % 2 ? echo : other).echo(`call ${at}`)));
    return (await Promise.all(calls)).filter((got, at) => got === `call ${at}`).length;
  });
  await check('exception', isError('boom'), () => result(echo.fail('boom')));
  await check('unknown method', isError(), () => result(echo.nothing()));
  await check('unknown service', isError(), () => result(proxy(dubbo, 'com.test.Missing').echo('x')));
  await check('no route', isError('no route'), () => result(proxy(dubbo, 'org.nowhere.Echo').echo('x')));
  await check('timeout by its attachment', isError('too long'), () => result(proxy(dubbo, 'com.test.Echo', 500).slow(4000)));
  await check('after the timeout', 'again', () => result(echo.echo('again')));
  await check('upstream killed mid-call', isError(), () => result(echo.die()));
  await check('after it came back', 'back', () => until('back', () => result(echo.echo('back'))));
  await outlives(millis => result(echo.slow(millis)), value => result(echo.echo(value)));
  end();
}

ask().catch(error => { console.log('FAIL', error); process.exit(1); });
