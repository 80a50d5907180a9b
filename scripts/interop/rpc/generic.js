'use strict';
// A provider of Dubbo of a few lines on hessian.js: generic calls of `echo` give back what they got, as it was decoded: `PORT`.

const net = require('net');
const { DecoderV2, EncoderV2 } = require('hessian.js');

function answer(body) {
  const decoder = new DecoderV2(body);
  const [, , , method] = [0, 1, 2, 3].map(() => decoder.read());
  decoder.read();
  const [name, types, values] = [decoder.read(), decoder.read(), decoder.read()];
  const attachments = decoder.read();
  const encoder = new EncoderV2();
  encoder.writeInt(1);
  // What hessian.js writes of its own accord, and a map with what it read beside the values.
  encoder.write({ method, name, types, values, generic: attachments.generic, group: attachments.group || null });
  return encoder.get();
}

net.createServer(socket => {
  let input = Buffer.alloc(0);
  socket.on('error', () => {});
  socket.on('data', data => {
    input = Buffer.concat([input, data]);
    while (input.length >= 16 && input.length >= 16 + input.readUInt32BE(12)) {
      const end = 16 + input.readUInt32BE(12);
      const frame = input.subarray(0, end);
      input = input.subarray(end);
      const is_event = frame[2] & 0x20;
      const body = is_event ? Buffer.from('N') : answer(Buffer.from(frame.subarray(16)));
      const head = Buffer.from(frame.subarray(0, 16));
      head[2] = is_event ? 0x22 : 0x02;
      head[3] = 20;
      head.writeUInt32BE(body.length, 12);
      socket.write(Buffer.concat([head, body]));
    }
  });
}).listen(Number(process.argv[2]), '127.0.0.1');
