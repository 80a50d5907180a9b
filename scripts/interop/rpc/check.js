'use strict';
// What the peers in JavaScript share: checks that say for each call whether it went as it should, and servers on loopback alone.

const childProcess = require('child_process');
const fs = require('fs');
const net = require('net');

// Servers that are told a port alone bind every address.
const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (port, ...rest) {
  if (typeof port !== 'number' && typeof port !== 'string') return listen.call(this, port, ...rest);
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, rest.find(one => typeof one === 'function'));
};

let failed = 0;

// Nothing: the call must succeed with this value. A function: says of the value or the error whether it is right.
exports.check = async (name, expect, call) => {
  let got;
  try {
    got = await call();
  } catch (error) {
    got = error instanceof Error ? error : new Error(JSON.stringify(error));
  }
  const right = typeof expect === 'function' ? expect(got) : got === expect;
  failed += right ? 0 : 1;
  const said = got instanceof Error ? `${got.name}: ${got.message}` : String(got);
  console.log(`${right ? 'ok  ' : 'FAIL'} ${name}${right ? '' : `: got ${said.slice(0, 300)}`}`);
};

exports.isError = part => got => got instanceof Error && (!part || String(got.message).includes(part));
exports.sleep = millis => new Promise(done => setTimeout(done, millis));
exports.big = '0123456789'.repeat(300000);
exports.emoji = 'ü\u{1F600}'.repeat(2000);

// Asks until it goes well: for a server that is starting again.
exports.until = async (value, call) => {
  for (let tries = 0; ; tries++) {
    try {
      if (await call() === value) return value;
      throw new Error('another value');
    } catch (error) {
      if (tries === 600) throw error;
      await exports.sleep(100);
    }
  }
};

// What the script does to the proxy when it is told to.
const hook = name => new Promise((done, give) => {
  childProcess.exec(process.env[name], (error, out, said) => error ? give(new Error(`${name}: ${said}`)) : done());
});

// A call in flight outlives a configuration that gives its cluster new connections, and the proxy's own end; the longer one, many
// heartbeats. `slow` is given how long to sleep.
exports.outlives = async (slow, echo) => {
  await exports.check('a reload mid-call', 'slept,again', async () => {
    const inFlight = slow(1500);
    inFlight.catch(() => {});
    await exports.sleep(300);
    await hook('RINGWAY_RELOAD');
    return `${await inFlight},${await echo('again')}`;
  });
  await exports.check('a drain mid-call', 'slept', async () => {
    const inFlight = slow(4500);
    inFlight.catch(() => {});
    await exports.sleep(300);
    await hook('RINGWAY_DRAIN');
    return inFlight;
  });
};

// The certificate of both ends, and its key, in that folder; nothing where there is to be no TLS.
exports.certificate = folder => folder && { cert: fs.readFileSync(`${folder}/cert.pem`), key: fs.readFileSync(`${folder}/key.pem`) };

exports.end = () => process.exit(failed ? 1 : 0);
